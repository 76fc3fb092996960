// What a frame's columns mean to a chart: which holds the time, which the category, which the values.

import { type Frame, isNumber, isTime } from './frame';

export interface Shape {
  /** The column on the x axis when it is time, else -1. */
  readonly time: number;
  /** The column that names the category or the series, else -1. */
  readonly category: number;
  /** The columns that are drawn. */
  readonly values: readonly number[];
}

/** Reads a shape from types and order: first time column, first text column, every number column. */
export function shapeOf(frame: Frame): Shape {
  const shown = frame.shown();
  const time = frame.find(isTime);
  const values = shown.filter((c) => isNumber(frame.columns[c]!));
  let category = shown.find((c) => c !== time && !values.includes(c)) ?? -1;
  // Two numbers and nothing else: the first is what the second is about ("hour, count").
  if (time < 0 && category < 0 && values.length > 1) category = values.shift()!;
  return { time, category, values };
}

/** One line of a chart. Times in ms since 1970, rising; NaN values are gaps. */
export interface Series {
  readonly name: string;
  readonly times: number[];
  readonly values: number[];
}

/** Splits a frame into lines: one per value column, times one per category if there is a category. */
export function seriesOf(frame: Frame, shape: Shape = shapeOf(frame)): Series[] {
  if (shape.time < 0) return [];
  const found = new Map<string, { t: number; v: number }[]>();
  for (const column of shape.values) {
    const measure = frame.columns[column]!.name;
    if (shape.category < 0) found.set(measure, []);
    for (let row = 0; row < frame.length; row++) {
      const t = frame.timeUs(shape.time, row);
      if (Number.isNaN(t)) continue;
      const category = shape.category < 0 ? null : frame.text(shape.category, row) || 'none';
      const name = category === null ? measure : shape.values.length > 1 ? `${category} · ${measure}` : category;
      let points = found.get(name);
      if (!points) found.set(name, (points = []));
      points.push({ t: t / 1000, v: frame.number(column, row) });
    }
  }
  return [...found].map(([name, points]) => {
    points.sort((a, b) => a.t - b.t);
    return { name, times: points.map((p) => p.t), values: points.map((p) => p.v) };
  });
}

/**
 * The distance between buckets in ms, from the times themselves: their greatest common divisor if all of them lie
 * on a grid of at least one second; 0 for raw times.
 */
export function bucketOf(series: readonly Series[]): number {
  let step = 0;
  for (const { times } of series) {
    for (let i = 1; i < times.length; i++) step = gcd(step, times[i]! - times[i - 1]!);
    if (times.length > 0 && step > 0) step = gcd(step, times[0]! % 86_400_000);
  }
  return step >= 1000 ? step : 0;
}

function gcd(a: number, b: number): number {
  while (b >= 1) [a, b] = [b, a % b];
  return a;
}

/** The bucket that a query names in `date_bin(interval '10 seconds', …)` or `SAMPLE BY 10s`, in ms; 0 if none. */
export function bucketOfQuery(query: string): number {
  const bin = /date_bin\s*\(\s*interval\s*'\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*'/i.exec(query);
  const sample = /sample\s+by\s+(\d+)\s*([smhd])\b/i.exec(query);
  const found = bin ?? sample;
  if (!found) return 0;
  const unit = found[2]!.toLowerCase();
  const ms = unit.startsWith('s') ? 1000 : unit.startsWith('h') ? 3_600_000 : unit.startsWith('d') ? 86_400_000
    : unit.startsWith('mil') || unit === 'ms' ? 1 : unit.startsWith('min') || unit === 'm' ? 60_000 : 0;
  return Number(found[1]) * ms;
}

/** Is the bucket that begins at `start` cut off by the range's edge or still filling? All in ms. */
export function isPartial(start: number, bucket: number, from: number, now: number): boolean {
  return bucket > 0 && (start + bucket > now || start < from);
}
