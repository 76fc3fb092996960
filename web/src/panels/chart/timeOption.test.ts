import { expect, test } from 'vitest';
import { type TimeInput, timeOption } from './timeOption';

const INPUT: TimeInput = {
  chart: 'bar', series: [{ name: 'revenue', times: [0, 10_000, 20_000, 30_000], values: [1, 2, 3, 4] }], colours: [0], bucket: 10_000,
  from: 5_000, to: 35_000, now: 35_000, unit: 'USD', zone: 'utc', theme: 'light', width: 300, fontSize: 12, animate: false, tooltip: () => '',
};
type Item = { value: number[]; itemStyle?: { borderWidth?: number }; symbol?: string } | number[];
const data = (input: TimeInput): Item[][] => (timeOption(input).series as { data: Item[] }[]).map((series) => series.data);
const hollow = (item: Item): boolean => !Array.isArray(item) && (item.itemStyle?.borderWidth ?? 0) > 0;

test('buckets that the range or the present cuts are hollow bars, in the middle of their time', () => {
  const [items] = data(INPUT);
  expect(items!.map(hollow)).toEqual([true, false, false, true]);
  expect((items![1] as number[])[0]).toBe(15_000);
});

test('a line runs through whole buckets, marks the newest, and ends dashed and hollow', () => {
  const [line, newest, dash] = data({ ...INPUT, chart: 'line' });
  expect(line!.map((item) => (item as number[])[1])).toEqual([2, 3]);
  expect(newest).toHaveLength(1);
  expect(dash!.map(hollow)).toEqual([false, true]);
});

test('raw times have no partial points', () => {
  const [line, , dash] = data({ ...INPUT, chart: 'line', bucket: 0 });
  expect(line).toHaveLength(4);
  expect(dash).toHaveLength(0);
});
