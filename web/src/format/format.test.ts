import { describe, expect, test } from 'vitest';
import { Frame } from '../frames/frame';
import { cellText, heading, toneOf } from './cell';
import { axis, change, exact, rate, short } from './number';
import { ago, exactTime, lastRange, rangeBefore, rangeBeforeBrief, retitled, rowTime, tick } from './time';

test.each([
  [0, undefined, '0'], [7, undefined, '7'], [1284, undefined, '1,284'], [9999, undefined, '9,999'],
  [10_000, undefined, '10.0k'], [12_800, undefined, '12.8k'], [99_960, undefined, '100k'], [128_400, undefined, '128k'],
  [999_600, undefined, '1.00M'], [3_420_000, undefined, '3.42M'], [7.2e9, undefined, '7.20B'], [-12_800, undefined, '−12.8k'],
  [0.5, undefined, '0.50'], [12.345, undefined, '12.35'], [123.45, undefined, '123.5'], [1234.5, undefined, '1,235'], [0.0042, undefined, '0.0042'],
  [84.2, 'USD', '$84.20'], [1284.4, 'USD', '$1,284'], [12_800, 'USD', '$12.8k'], [-5, 'EUR', '−€5.00'],
  [45.678, '%', '45.68 %'], [12, 'ms', '12 ms'], [512, 'bytes', '512 B'], [1536, 'B', '1.50 KiB'], [23_423_423, 'B', '22.3 MiB'],
  [NaN, 'USD', '—'], [Infinity, undefined, '—'],
])('short(%s, %s)', (value, unit, text) => expect(short(value, unit)).toBe(text));

test.each([
  [1_234_567.5, undefined, '1,234,567.5'], [72_863.79, 'USD', '$72,863.79'], [3, 'USD', '$3.00'], [0.1 + 0.2, undefined, '0.3'],
])('exact(%s, %s)', (value, unit, text) => expect(exact(value, unit)).toBe(text));

test.each([
  [0, 'USD', '0'], [500, 'USD', '$500'], [1000, 'USD', '$1k'], [1500, 'USD', '$1.5k'], [20_000, undefined, '20k'], [2.5, undefined, '2.5'], [200, 'ms', '200 ms'],
])('axis(%s, %s)', (value, unit, text) => expect(axis(value, unit)).toBe(text));

test.each([
  [104.2, 100, '▲', 'up', '4.2 %'], [97, 100, '▼', 'down', '3.0 %'], [100, 100, '=', 'unchanged', '0.0 %'], [0, 0, '=', 'unchanged', '0 %'],
  [-50, -100, '▲', 'up', '50.0 %'], [300, 100, '▲', 'up', '200 %'],
])('change(%s, %s)', (value, before, arrow, word, text) => expect(change(value, before)).toEqual({ arrow, word, text }));

test('a change on nothing is no change', () => {
  expect(change(5, 0)).toBeNull();
  expect(change(NaN, 1)).toBeNull();
});

test.each([[0, '0'], [2.345, '2.3'], [1200.5, '1,201'], [45_000, '45.0k']])('rate(%s)', (value, text) => expect(rate(value)).toBe(text));

test.each([[300, 'Last 5 minutes', 'the five minutes before'], [60, 'Last minute', 'the minute before'], [3600, 'Last hour', 'the hour before'], [90, 'Last 90 seconds', 'the 90 seconds before'], [172_800, 'Last 2 days', 'the two days before']])(
  'ranges of %s s', (seconds, last, before) => {
    expect(lastRange(seconds)).toBe(last);
    expect(rangeBefore(seconds)).toBe(before);
  });

test.each([[300, '5 min before'], [3600, '1 h before'], [90, '90 s before']])('%s s in brief', (seconds, text) => expect(rangeBeforeBrief(seconds)).toBe(text));

test('a title follows the range that is shown', () => {
  expect(retitled('Sales, last 5 minutes', 300, 'last hour')).toBe('Sales, last hour');
  expect(retitled('Sales, last 5 minutes', 300, null)).toBe('Sales, last 5 minutes');
  expect(retitled('Sales', 300, 'last hour')).toBe('Sales');
});

describe('times', () => {
  const at = Date.UTC(2026, 10, 22, 14, 3, 7, 45);
  test('of a row', () => {
    expect(rowTime(at, 'utc', at + 1000)).toBe('14:03:07');
    expect(rowTime(at, 'utc', at + 86_400_000)).toBe('22 Nov 14:03:07');
    expect(rowTime(at, 'utc', at + 400 * 86_400_000)).toBe('22 Nov 2026 14:03:07');
  });
  test('exact', () => {
    expect(exactTime(at * 1000, 'utc')).toBe('2026-11-22 14:03:07.045');
    expect(exactTime(at * 1000 + 123, 'utc')).toBe('2026-11-22 14:03:07.045123');
  });
  test('on an axis', () => {
    expect(tick(at, 60_000, 'utc')).toBe('14:03:07');
    expect(tick(at, 300_000, 'utc')).toBe('14:03');
    expect(tick(at, 30 * 86_400_000, 'utc')).toBe('22 Nov');
  });
  test.each([[500, 'now'], [12_000, '12 s ago'], [180_000, '3 min ago'], [7_200_000, '2 h ago'], [5 * 86_400_000, '5 days ago']])('%s ms ago', (ms, text) => expect(ago(ms)).toBe(text));
});

describe('cells', () => {
  const frame = Frame.of(
    [{ name: 'order_id', type: 'VARCHAR' }, { name: 'total', type: 'DOUBLE' }, { name: 'n', type: 'LONG' }, { name: 'ratio', type: 'DOUBLE' }],
    [['0c21ded8-0b8f-4aab-8467-5556a37715e0', 1234.5, 12_345, 0.5], [null, null, '9007199254740993', null]],
  );
  test.each([
    [0, 0, '0c21ded8'], [1, 0, '$1,234.50'], [2, 0, '12,345'], [3, 0, '0.50'], [0, 1, '—'], [1, 1, '—'], [2, 1, '9007199254740993'],
  ])('column %s, row %s', (column, row, text) => expect(cellText(frame, column, row, 'utc', 'USD').text).toBe(text));
  test('headings and tones', () => {
    expect(heading('created_at')).toBe('Created at');
    expect(['Complete', 'Cancelled', 'Returned', 'Shipped', 'whatever'].map(toneOf)).toEqual(['good', 'bad', 'warn', 'info', 'quiet']);
  });
});
