// From lines of numbers to an ECharts option. Pure: no DOM, no clock.

import type { EChartsCoreOption } from 'echarts/core';
import { isPartial, type Series } from '../../frames/shape';
import { axis } from '../../format/number';
import { tick, type Zone } from '../../format/time';
import { seriesColour, type Theme, tokens } from '../../theme/tokens';

export interface TimeInput {
  readonly chart: 'line' | 'area' | 'bar';
  readonly series: readonly Series[];
  /** Colour number of each series. */
  readonly colours: readonly number[];
  /** Width of a bucket in ms; 0 for raw times. */
  readonly bucket: number;
  /** The axis, in ms since 1970. */
  readonly from: number;
  readonly to: number;
  /** The server's present, in ms: buckets that end later are still filling. */
  readonly now: number;
  readonly unit: string | undefined;
  readonly zone: Zone;
  readonly theme: Theme;
  /** Width of the plot in px. */
  readonly width: number;
  readonly fontSize: number;
  readonly animate: boolean;
  readonly tooltip: (at: number) => HTMLElement | string;
}

/** Room for the labels of the y axis, in font sizes. */
export const LEFT_EM = 3.7;
const FONT = "'Inter Variable', system-ui, sans-serif";
/** More names than this at the ends of the lines would lie on each other. */
const END_LABELS_MAX = 6;

interface Extent {
  readonly min: number;
  readonly max: number;
}

/** Does a line move so far from zero that an axis from zero would flatten it? Bars and areas always begin there. */
const isFar = ({ min, max }: Extent): boolean => min > 0 && max - min < 0.4 * max;

export const showsEndLabels = ({ chart, series }: Pick<TimeInput, 'chart' | 'series'>): boolean =>
  chart !== 'bar' && series.length > 1 && series.length <= END_LABELS_MAX;

export function timeOption(input: TimeInput): EChartsCoreOption {
  const { series, unit, zone, theme, from, to, fontSize } = input;
  const ink = tokens(theme);
  const label = { color: ink['ink-3']!, fontFamily: FONT, fontSize };
  const ends = showsEndLabels(input);
  const endSpace = ends ? Math.min(160, Math.max(...series.map((s) => s.name.length)) * fontSize * 0.6 + 18) : 10;
  return {
    animation: input.animate,
    animationDuration: 0,
    animationDurationUpdate: 200,
    animationEasingUpdate: 'cubicOut',
    textStyle: { fontFamily: FONT },
    grid: { left: Math.round(fontSize * LEFT_EM), right: endSpace, top: 8, bottom: Math.round(fontSize * 2), outerBoundsMode: 'none' },
    xAxis: {
      type: 'time', min: from, max: to,
      axisLine: { lineStyle: { color: ink.axis!, width: 1 } },
      axisTick: { show: true, length: 4, lineStyle: { color: ink.axis! } },
      splitLine: { show: false },
      splitNumber: Math.max(2, Math.min(6, Math.floor(input.width / (fontSize * 9)))),
      axisLabel: { ...label, hideOverlap: true, margin: 8, formatter: (ms: number) => tick(ms, to - from, zone), showMinLabel: false, showMaxLabel: false },
    },
    yAxis: {
      type: 'value', splitNumber: 3, min: (extent: Extent) => ((input.chart === 'line' && isFar(extent)) || extent.min < 0 ? undefined : 0), scale: input.chart === 'line',
      axisLine: { show: false }, axisTick: { show: false },
      splitLine: { lineStyle: { color: ink.grid!, width: 1 } },
      axisLabel: { ...label, margin: 10, formatter: (value: number) => axis(value, unit) },
    },
    tooltip: {
      trigger: 'axis', confine: true, transitionDuration: 0, className: 'tip', renderMode: 'html', padding: 0, borderWidth: 0,
      backgroundColor: 'transparent', extraCssText: 'box-shadow:none', enterable: false,
      axisPointer: { type: 'line', lineStyle: { color: ink['ink-3']!, width: 1, type: 'solid' }, label: { show: false }, animation: false },
      formatter: (params: unknown) => input.tooltip(axisValue(params)),
    },
    series: input.chart === 'bar' ? bars(input) : lines(input, ends, label),
  };
}

function axisValue(params: unknown): number {
  const first = (Array.isArray(params) ? params[0] : params) as { axisValue?: number; value?: [number, number] } | undefined;
  return first?.axisValue ?? first?.value?.[0] ?? NaN;
}

/** Whole buckets solid, those that the range cuts or that still fill, hollow. */
function bars({ series, colours, bucket, from, to, now, width, theme }: TimeInput): object[] {
  const pitch = bucket > 0 ? (bucket / (to - from)) * width : 8;
  // Bars thinner than a few pixels stand side by side: gaps would only make them flicker as the axis moves.
  const barWidth = pitch < 5 ? pitch : Math.min(48, pitch - Math.max(1, Math.min(6, pitch * 0.22)));
  const surface = tokens(theme).surface!;
  return series.map((line, index) => {
    const colour = seriesColour(theme, colours[index]!);
    return {
      type: 'bar', name: line.name, stack: 'all', barWidth, clip: true, emphasis: { disabled: true },
      itemStyle: { color: colour, borderRadius: series.length === 1 ? [2, 2, 0, 0] : 0 },
      data: line.times.map((time, i) => {
        const value = [time + bucket / 2, line.values[i]!];
        if (!isPartial(time, bucket, from, now)) return value;
        return { value, itemStyle: { color: surface, borderColor: colour, borderWidth: 1.5 } };
      }),
    };
  });
}

/** A line runs through whole buckets; what is partial hangs on dashed, its end hollow. The newest point is marked. */
function lines({ chart, series, colours, bucket, from, now, theme }: TimeInput, ends: boolean, label: object): object[] {
  const surface = tokens(theme).surface!;
  return series.flatMap((line, index) => {
    const colour = seriesColour(theme, colours[index]!);
    const points = line.times.map((time, i) => ({ time, at: time + bucket / 2, value: line.values[i]!, partial: isPartial(time, bucket, from, now) }));
    const whole = points.filter((p) => !p.partial);
    const newest = whole.at(-1);
    const tail = points.filter((p) => p.partial && newest && p.time > newest.time);
    const dash = newest && tail.length > 0 ? [newest, ...tail] : [];
    const base = { type: 'line', color: colour, showSymbol: true, symbol: 'none', emphasis: { disabled: true }, clip: true };
    return [
      {
        ...base, name: line.name, lineStyle: { width: 2, color: colour, join: 'round' }, connectNulls: false,
        ...(chart === 'area' ? { areaStyle: { color: colour, opacity: 0.16 } } : {}),
        ...(ends ? { endLabel: { show: true, formatter: line.name, distance: 8, ...label, color: colour }, labelLayout: { moveOverlap: 'shiftY' } } : {}),
        data: whole.map((p) => [p.at, p.value]),
      },
      {
        // Not animated: the mark is another item each time, and would for ever be on its way in.
        ...base, name: `${line.name} (newest)`, silent: true, animation: false, lineStyle: { width: 0 },
        data: newest ? [{ value: [newest.at, newest.value], symbol: 'circle', symbolSize: 7, itemStyle: { color: colour } }] : [],
      },
      {
        ...base, name: `${line.name} (partial)`, silent: true, animation: false, lineStyle: { width: 1.5, color: colour, type: 'dashed' },
        data: dash.map((p) => (p.partial
          ? { value: [p.at, p.value], symbol: 'circle', symbolSize: 7, itemStyle: { color: surface, borderColor: colour, borderWidth: 1.5 } }
          : [p.at, p.value])),
      },
    ];
  });
}
