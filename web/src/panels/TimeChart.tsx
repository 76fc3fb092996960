// A line, area or bar chart over time. ECharts draws; this decides when: on a new frame, on a new size or theme, and
// whenever the clock has moved the axis by a pixel. Dragging over it zooms the page, a double click goes back to live.

import { type JSX, type PointerEvent, useEffect, useMemo, useRef, useState } from 'react';
import { theHub, useConnection } from '../feed/hooks';
import { exact } from '../format/number';
import { clock, day, type Zone } from '../format/time';
import type { Frame } from '../frames/frame';
import { bucketOf, bucketOfQuery, isPartial, type Series, seriesOf } from '../frames/shape';
import type { Zoom } from '../dashboard/address';
import { wallZoom } from '../dashboard/wall';
import { setZoom } from '../dashboard/page';
import { colourOf } from '../theme/colours';
import { useTheme } from '../theme/mode';
import { mayMove } from '../ui/motion';
import type { Chart } from './chart/echarts';
import { LEFT_EM, showsEndLabels, timeOption } from './chart/timeOption';

interface Props {
  readonly chart: 'line' | 'area' | 'bar';
  readonly title: string;
  readonly unit: string | undefined;
  readonly query: string;
  readonly frame: Frame;
  readonly rangeSeconds: number;
  readonly zoom: Zoom | null;
  readonly zone: Zone;
  readonly wall: boolean;
}

/** Charts of this group share their hover. */
const GROUP = 'page';
const DRAG_MIN_PX = 6;

/** The server's present in ms, between its ticks too. */
function presentMs(): number {
  const { skewMs, now } = theHub().connection.get();
  const at = Date.now() - skewMs;
  return Number.isFinite(at) ? at : now / 1000;
}

export function TimeChart(props: Props): JSX.Element {
  const { title, unit, query, frame, rangeSeconds, zoom, zone, wall } = props;
  const host = useRef<HTMLDivElement>(null);
  const chart = useRef<Chart | null>(null);
  const [size, setSize] = useState<{ width: number; height: number } | null>(null);
  const [ready, setReady] = useState(false);
  const theme = useTheme();
  const tick = useConnection((connection) => connection.now);
  const series = useMemo(() => seriesOf(frame), [frame]);
  const bucket = useMemo(() => bucketOfQuery(query) || bucketOf(series), [query, series]);
  const latest = useRef({ series, bucket, unit, zone });
  latest.current = { series, bucket, unit, zone };

  useEffect(() => {
    let gone = false;
    void import('./chart/echarts').then(({ echarts }) => {
      if (gone || !host.current) return;
      chart.current = echarts.init(host.current, null, { renderer: 'canvas', devicePixelRatio: window.devicePixelRatio * (wall ? wallZoom(window.innerWidth, window.innerHeight) : 1) });
      chart.current.group = GROUP;
      echarts.connect(GROUP);
      setReady(true);
    });
    const observer = new ResizeObserver(() => {
      // Not the observer's rectangle: on a wall the page is zoomed, and this is in the page's own pixels.
      const { clientWidth: width = 0, clientHeight: height = 0 } = host.current ?? {};
      if (width > 0 && height > 0) setSize({ width, height });
    });
    if (host.current) observer.observe(host.current);
    return () => {
      gone = true;
      observer.disconnect();
      chart.current?.dispose();
      chart.current = null;
    };
  }, []);

  useEffect(() => {
    if (ready && size) chart.current?.resize(size);
  }, [ready, size]);

  const fontSize = wall ? 14 : 12;
  const plot = Math.max(1, (size?.width ?? 1) - fontSize * LEFT_EM - 10);
  const span = rangeSeconds * 1000;

  useEffect(() => {
    if (!ready || !size || !chart.current) return;
    const to = zoom?.to ?? presentMs();
    const from = zoom?.from ?? to - span;
    chart.current.setOption(timeOption({
      chart: props.chart, series, colours: series.map((line) => (series.length === 1 ? 0 : colourOf(line.name))), bucket, from, to,
      now: Math.min(tick / 1000, to), unit, zone, theme, width: plot, fontSize, animate: mayMove(),
      tooltip: (at) => tooltip(at, latest.current, from, Math.min(tick / 1000, to)),
    }), { replaceMerge: ['series'], lazyUpdate: true });
  }, [ready, size, series, bucket, unit, zone, theme, zoom, span, plot, fontSize, props.chart, tick]);

  useEffect(() => {
    if (!ready || zoom) return undefined;
    // One step a pixel; slow walls of hours move rarely, five minutes a few times a second.
    const stepMs = Math.min(60_000, Math.max(33, span / plot));
    let frameId = 0;
    const timer = setInterval(() => {
      if (document.hidden || !mayMove()) return;
      cancelAnimationFrame(frameId);
      frameId = requestAnimationFrame(() => {
        const to = presentMs();
        chart.current?.setOption({ animation: false, xAxis: { min: to - span, max: to } }, { lazyUpdate: true, silent: true });
      });
    }, stepMs);
    return () => {
      clearInterval(timer);
      cancelAnimationFrame(frameId);
    };
  }, [ready, zoom, span, plot]);

  const brush = useBrush(chart);
  const newest = summary(series, unit, zone);
  const legend = series.length > 1 && !showsEndLabels({ chart: props.chart, series });
  return (
    <div className="time-chart">
      {legend && (
        <ul className="legend" aria-hidden="true">
          {series.map((line) => <li key={line.name}><i className={`swatch series-${(colourOf(line.name) % 8) + 1}`} />{line.name}</li>)}
        </ul>
      )}
      <div className="chart-area" role="img" aria-label={`${title}. ${newest} Press t for a table.`} {...brush.handlers} onDoubleClick={() => setZoom(null)}>
        <div className="chart-host" ref={host} />
        {brush.box && <div className="brush" style={{ left: brush.box[0], width: brush.box[1] - brush.box[0] }} />}
      </div>
    </div>
  );
}

function summary(series: readonly Series[], unit: string | undefined, zone: Zone): string {
  return series.slice(0, 8).map((line) => {
    const last = line.times.length - 1;
    return last < 0 ? '' : `${line.name}: ${exact(line.values[last]!, unit)} at ${clock(line.times[last]!, zone)}.`;
  }).join(' ');
}

/** All series at the moment that is pointed at. */
function tooltip(at: number, { series, bucket, unit, zone }: { series: readonly Series[]; bucket: number; unit: string | undefined; zone: Zone }, from: number, now: number): HTMLElement | string {
  if (!Number.isFinite(at)) return '';
  const box = document.createElement('div');
  box.className = 'tip-box';
  const rows: { name: string; value: number; time: number }[] = [];
  for (const line of series) {
    const i = nearest(line.times, at - bucket / 2);
    if (i >= 0) rows.push({ name: line.name, value: line.values[i]!, time: line.times[i]! });
  }
  const first = rows[0];
  if (!first) return '';
  const head = document.createElement('p');
  const time = Math.abs(now - first.time) > 86_400_000 ? `${day(first.time, zone)} ${clock(first.time, zone)}` : clock(first.time, zone);
  head.textContent = (bucket > 0 ? `${time} – ${clock(first.time + bucket, zone)}` : time)
    + (isPartial(first.time, bucket, from, now) ? ' · partial' : '');
  box.append(head);
  for (const { name, value } of rows.sort((a, b) => b.value - a.value).slice(0, 12)) {
    const row = document.createElement('div');
    const swatch = document.createElement('i');
    swatch.className = `swatch series-${((series.length === 1 ? 0 : colourOf(name)) % 8) + 1}`;
    const label = document.createElement('span');
    label.textContent = name;
    const number = document.createElement('b');
    number.textContent = exact(value, unit);
    row.append(swatch, label, number);
    box.append(row);
  }
  return box;
}

/** Index of the time nearest to `at` in rising times; -1 if there are none. */
export function nearest(times: readonly number[], at: number): number {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle]! < at) low = middle + 1;
    else high = middle;
  }
  if (low === times.length) return low - 1;
  return low > 0 && at - times[low - 1]! < times[low]! - at ? low - 1 : low;
}

/** Selecting a range with the mouse. Fingers scroll the page instead. */
function useBrush(chart: { readonly current: Chart | null }): {
  box: readonly [number, number] | null;
  handlers: Record<string, (event: PointerEvent<HTMLDivElement>) => void>;
} {
  const [box, setBox] = useState<readonly [number, number] | null>(null);
  const start = useRef<number | null>(null);
  const x = (event: PointerEvent<HTMLDivElement>): number => event.clientX - event.currentTarget.getBoundingClientRect().left;
  return {
    box,
    handlers: {
      onPointerDown(event) {
        if (event.pointerType !== 'mouse' || event.button !== 0) return;
        start.current = x(event);
        event.currentTarget.setPointerCapture(event.pointerId);
      },
      onPointerMove(event) {
        if (start.current === null) return;
        const at = x(event);
        setBox(Math.abs(at - start.current) < DRAG_MIN_PX ? null : [Math.min(at, start.current), Math.max(at, start.current)]);
      },
      onPointerUp() {
        start.current = null;
        setBox(null);
        if (!box || !chart.current) return;
        const [from, to] = box.map((px) => Number(chart.current!.convertFromPixel({ xAxisIndex: 0 }, px)));
        if (Number.isFinite(from) && Number.isFinite(to) && to! - from! >= 1000) setZoom({ from: from!, to: to! });
      },
      onPointerCancel() {
        start.current = null;
        setBox(null);
      },
    },
  };
}
