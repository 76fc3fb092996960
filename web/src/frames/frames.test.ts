import { describe, expect, test } from 'vitest';
import { Categories, RESORT_MS } from './categories';
import { type Column, Frame } from './frame';
import { bucketOf, bucketOfQuery, isPartial, seriesOf, shapeOf } from './shape';

const column = (text: string): Column => {
  const [name, type, hidden] = text.split(':') as [string, string, string?];
  return hidden ? { name, type, hidden: true } : { name, type };
};
const frame = (columns: string, ...rows: (string | number | null)[][]): Frame => Frame.of(columns.split(' ').map(column), rows);

describe('frame', () => {
  test('keeps what a double cannot hold', () => {
    const big = frame('n:LONG', [1], ['9007199254740993'], [null]);
    expect([0, 1, 2].map((row) => big.text(0, row))).toEqual(['1', '9007199254740993', '']);
    expect(big.number(0, 1)).toBe(9007199254740992);
    expect(big.number(0, 2)).toBeNaN();
  });
  test('null and hidden columns', () => {
    const rows = frame('x:DOUBLE _seq:LONG:h', [null, 7]);
    expect(rows.rows()).toEqual([[null, 7]]);
    expect(rows.shown()).toEqual([0]);
  });
  test('nanoseconds come as text and are read as microseconds', () => {
    expect(frame('t:TIMESTAMP_NS', ['1763815200000000123']).timeUs(0, 0)).toBeCloseTo(1763815200000000, 0);
  });
});

test.each([
  ['country:SYMBOL revenue:DOUBLE', { time: -1, category: 0, values: [1] }],
  ['t:TIMESTAMP revenue:DOUBLE', { time: 0, category: -1, values: [1] }],
  ['t:TIMESTAMP city:VARCHAR a:DOUBLE b:LONG', { time: 0, category: 1, values: [2, 3] }],
  ['hour:INT n:LONG', { time: -1, category: 0, values: [1] }],
  ['n:LONG', { time: -1, category: -1, values: [0] }],
])('shape of %s', (columns, shape) => expect(shapeOf(frame(columns, []))).toEqual(shape));

describe('series', () => {
  test('one a category, sorted by time, gaps kept', () => {
    const rows = frame('t:TIMESTAMP city:SYMBOL v:DOUBLE', [20_000_000, 'Berlin', 2], [10_000_000, 'Berlin', 1], [10_000_000, 'Oslo', null]);
    expect(seriesOf(rows)).toEqual([
      { name: 'Berlin', times: [10_000, 20_000], values: [1, 2] },
      { name: 'Oslo', times: [10_000], values: [NaN] },
    ]);
  });
  test('buckets from times', () => {
    const at = (...seconds: number[]) => [{ name: 'x', times: seconds.map((s) => s * 1000), values: seconds }];
    expect(bucketOf(at(0, 10, 30, 60))).toBe(10_000);
    expect(bucketOf(at(0.1, 0.35, 7.77))).toBe(0);
    expect(bucketOf(at())).toBe(0);
  });
  test.each([
    ["SELECT date_bin(interval '10 seconds', ts) AS t", 10_000], ["date_bin( INTERVAL '5 minutes', ts)", 300_000],
    ["date_bin(interval '1 hour', ts)", 3_600_000], ['SELECT avg(x) FROM t SAMPLE BY 10s', 10_000], ['SELECT 1', 0],
  ])('bucket of %s', (query, ms) => expect(bucketOfQuery(query)).toBe(ms));
  test.each([[0, 5, 20, true], [10, 5, 20, false], [15, 5, 20, true], [0, 0, 10, false]])('bucket at %s in %s..%s partial: %s', (start, from, now, partial) => {
    expect(isPartial(start, 10, from, now)).toBe(partial);
  });
});

describe('categories', () => {
  const bars = (...rows: [string, number][]) => frame('country:SYMBOL revenue:DOUBLE', ...rows);
  const show = (list: readonly { name: string; value: number }[]) => list.map(({ name, value }) => `${name} ${value}`).join(', ');

  test('one once seen stays at zero', () => {
    const categories = new Categories();
    categories.update(bars(['China', 5], ['Poland', 1]), 0);
    expect(show(categories.update(bars(['China', 6]), 100))).toBe('China 6, Poland 0');
  });
  test('order changes every two seconds at most, values at once', () => {
    const categories = new Categories();
    categories.update(bars(['China', 5], ['Spain', 4]), 0);
    expect(show(categories.update(bars(['China', 5], ['Spain', 9]), RESORT_MS - 1))).toBe('China 5, Spain 9');
    expect(show(categories.update(bars(['China', 5], ['Spain', 9]), RESORT_MS))).toBe('Spain 9, China 5');
  });
  test('a new one takes its place at once; equals go by name', () => {
    const categories = new Categories();
    categories.update(bars(['China', 5]), 0);
    expect(show(categories.update(bars(['China', 5], ['Brasil', 5], ['Japan', 8]), 10))).toBe('Japan 8, Brasil 5, China 5');
  });
});
