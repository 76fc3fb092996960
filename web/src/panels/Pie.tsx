// Shares of a whole. Small ones are gathered: nobody reads the ninth slice.

import { type JSX, useEffect, useRef, useState } from 'react';
import type { Frame } from '../frames/frame';
import { shapeOf } from '../frames/shape';
import { exact, short } from '../format/number';
import { colourOf } from '../theme/colours';
import { useTheme } from '../theme/mode';
import { seriesColour, tokens } from '../theme/tokens';
import { mayMove } from '../ui/motion';
import type { Chart } from './chart/echarts';

const SLICES_MAX = 8;

export function slices(frame: Frame): { name: string; value: number }[] {
  const { category, values } = shapeOf(frame);
  const column = values[0];
  if (column === undefined) return [];
  const all = Array.from({ length: frame.length }, (_, row) => ({
    name: category < 0 ? frame.columns[column]!.name : frame.text(category, row) || 'none',
    value: Math.max(0, frame.number(column, row) || 0),
  })).sort((a, b) => b.value - a.value);
  if (all.length <= SLICES_MAX) return all;
  const rest = all.slice(SLICES_MAX - 1).reduce((sum, slice) => sum + slice.value, 0);
  return [...all.slice(0, SLICES_MAX - 1), { name: 'all others', value: rest }];
}

export function Pie({ title, unit, frame }: { title: string; unit: string | undefined; frame: Frame }): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const chart = useRef<Chart | null>(null);
  const [ready, setReady] = useState(false);
  const theme = useTheme();
  useEffect(() => {
    let gone = false;
    void import('./chart/pie').then(({ echarts }) => {
      if (gone || !host.current) return;
      chart.current = echarts.init(host.current);
      setReady(true);
    });
    const observer = new ResizeObserver(() => chart.current?.resize());
    if (host.current) observer.observe(host.current);
    return () => {
      gone = true;
      observer.disconnect();
      chart.current?.dispose();
    };
  }, []);
  useEffect(() => {
    const ink = tokens(theme);
    chart.current?.setOption({
      animation: mayMove(), animationDuration: 0, animationDurationUpdate: 200,
      tooltip: { trigger: 'item', className: 'tip', backgroundColor: ink.raised, textStyle: { color: ink.ink, fontSize: 12 }, valueFormatter: (v: number) => exact(v, unit) },
      series: [{
        type: 'pie', radius: ['52%', '78%'], padAngle: 1, minAngle: 2,
        label: { color: ink['ink-2'], fontSize: 12, formatter: ({ name, value, percent }: { name: string; value: number; percent: number }) => `${name}\n${short(value, unit)} · ${percent.toFixed(0)} %` },
        labelLine: { length: 6, length2: 6, lineStyle: { color: ink.axis } },
        data: slices(frame).map((slice) => ({ ...slice, itemStyle: { color: seriesColour(theme, colourOf(slice.name)) } })),
      }],
    }, { lazyUpdate: true });
  }, [ready, frame, theme, unit]);
  return <div className="chart-area" role="img" aria-label={`${title}. Press t for a table.`}><div className="chart-host" ref={host} /></div>;
}
