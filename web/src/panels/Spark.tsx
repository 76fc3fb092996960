// A short line beside a number: whole buckets only, the newest marked. A bucket that is still filling would end every
// line in a fall.

import type { JSX } from 'react';
import type { Zoom } from '../dashboard/address';
import { useConnection } from '../feed/hooks';
import type { Frame } from '../frames/frame';
import { bucketOf, isPartial, seriesOf } from '../frames/shape';

const TOP = 8;
const BOTTOM = 96;

export function Spark({ frame, rangeSeconds, zoom }: { frame: Frame; rangeSeconds: number; zoom: Zoom | null }): JSX.Element | null {
  const nowUs = useConnection((connection) => connection.now);
  const series = seriesOf(frame);
  const line = series[0];
  if (!line || Number.isNaN(nowUs)) return null;
  const bucket = bucketOf(series);
  const now = zoom?.to ?? nowUs / 1000;
  const from = zoom?.from ?? now - rangeSeconds * 1000;
  const points = line.times.flatMap((time, i) => {
    const value = line.values[i]!;
    return Number.isNaN(value) || isPartial(time, bucket, from, now) ? [] : [{ time: time + bucket, value }];
  });
  if (points.length < 2) return null;
  const low = Math.min(0, ...points.map((p) => p.value));
  const high = Math.max(low + 1e-9, ...points.map((p) => p.value));
  const x = (time: number): number => ((time - from) / (now - from)) * 100;
  const y = (value: number): number => BOTTOM - ((value - low) / (high - low)) * (BOTTOM - TOP);
  const path = points.map((p, i) => `${i ? 'L' : 'M'}${x(p.time).toFixed(2)} ${y(p.value).toFixed(2)}`).join('');
  const last = points.at(-1)!;
  return (
    <div className="spark" aria-hidden="true">
      <svg viewBox="0 0 100 100" preserveAspectRatio="none">
        <path className="spark-area" d={`${path}L${x(last.time).toFixed(2)} 100L${x(points[0]!.time).toFixed(2)} 100Z`} />
        <path className="spark-line" d={path} vectorEffect="non-scaling-stroke" />
      </svg>
      <i style={{ left: `${x(last.time)}%`, top: `${y(last.value)}%` }} />
    </div>
  );
}
