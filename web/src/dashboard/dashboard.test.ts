import { describe, expect, test } from 'vitest';
import { paramsOf, rangeOf, readAddress, writeAddress } from './address';
import { type At, type Definition, type PanelDef, readDefinition, readError, uses } from './definition';
import { gridOf, phoneOrder, readingOrder } from './layout';
import { freshness } from './words';

const panel = (id: string, chart: string, at: At, more: Partial<PanelDef> = {}): PanelDef =>
  ({ id, title: id, chart, at, query: '', compare: false, spark: false, ...more });

const THELOOK = [
  panel('sales', 'stat', [0, 0, 4, 2]), panel('orders', 'stat', [4, 0, 4, 2]), panel('items', 'stat', [8, 0, 4, 2]),
  panel('per-10-seconds', 'bar', [0, 2, 8, 4]), panel('by-source', 'bar', [8, 2, 4, 4]),
  panel('by-country', 'bar', [0, 6, 5, 6]), panel('latest', 'table', [5, 6, 7, 6]),
];

/** Height of a panel: its tracks and the gaps between them. */
function heightOf(panels: readonly PanelDef[], id: string, window: number): number {
  const { rows, place } = gridOf(panels, window);
  const tracks = rows.split(' ').map(parseFloat);
  const [start, span] = place.get(id)!.row.split(' / span ').map(Number) as [number, number];
  return Math.round(tracks.slice(start - 1, start - 1 + span).reduce((sum, track) => sum + track, 0) + (span - 1) * 16);
}

describe('layout', () => {
  test('theLook fills 1440x900 to the pixel', () => {
    expect(['sales', 'per-10-seconds', 'by-country'].map((id) => heightOf(THELOOK, id, 900))).toEqual([136, 264, 380]);
    expect(48 + 16 + 136 + 16 + 264 + 16 + 380 + 24).toBe(900);
  });
  test('a small window scrolls, a large one does not stretch without end', () => {
    expect(heightOf(THELOOK, 'by-source', 400)).toBe(32 + 4 * 50);
    expect(heightOf(THELOOK, 'by-source', 4000)).toBe(32 + 4 * 112);
  });
  test('panels of unlike heights beside each other make one band', () => {
    const mixed = [panel('tall', 'table', [0, 0, 6, 6]), panel('a', 'line', [6, 0, 6, 3]), panel('b', 'line', [6, 3, 6, 3])];
    const { place } = gridOf(mixed, 900);
    expect([place.get('tall')!.row, place.get('a')!.row, place.get('b')!.row]).toEqual(['1 / span 6', '1 / span 3', '4 / span 3']);
    expect(heightOf(mixed, 'a', 900) + 16 + heightOf(mixed, 'b', 900)).toBe(heightOf(mixed, 'tall', 900));
  });
  test('order of reading and of a phone', () => {
    const ids = (panels: readonly PanelDef[]) => panels.map(({ id }) => id).join(' ');
    expect(ids(readingOrder([...THELOOK].reverse()))).toBe('sales orders items per-10-seconds by-source by-country latest');
    expect(ids(phoneOrder(THELOOK, ({ id }) => id === 'per-10-seconds'))).toBe('sales orders items per-10-seconds by-country by-source latest');
  });
});

describe('definition', () => {
  test('reads what the server sends', () => {
    const read = readDefinition({
      name: 'shop', title: 'Shop', range_s: 900, variables: [{ name: 'traffic_source', multi: true }],
      panels: [{ id: 'sales', title: 'Sales', chart: 'stat', at: [0, 0, 4, 2], unit: 'USD', compare: true, spark: true, query: 'SELECT 1' }, { title: 'Über uns!' }],
    }, 'x')!;
    expect(read).toMatchObject({ name: 'shop', title: 'Shop', rangeSeconds: 900, variables: [{ name: 'traffic_source', title: 'Traffic source', multi: true }] });
    expect(read.panels[0]).toMatchObject({ id: 'sales', unit: 'USD', compare: true, spark: true });
    expect(read.panels[1]).toMatchObject({ id: 'über-uns', chart: 'table', compare: false });
  });
  test('nonsense is no definition', () => expect(readDefinition('x', 'x')).toBeNull());
  test('errors as object, JSON text or nothing', () => {
    const error = { file: 'a.toml', line: 3, column: 1, message: 'unknown key', hint: 'did you mean' };
    expect(readError(error)).toEqual(error);
    expect(readError(JSON.stringify(error))).toEqual(error);
    expect(readError(null)).toBeNull();
  });
  test.each([['a = $country', true], ['a = $country_code', false], ['IN ($country)', true], ['country', false]])('%s uses $country: %s', (query, yes) => {
    expect(uses(query, 'country')).toBe(yes);
  });
});

describe('address', () => {
  test.each(['', '?country=China&country=Brasil', '?from=1000&to=2000', '?range=900', '?country=A%26B&wall', '?wall'])('%s there and back', (search) => {
    expect(writeAddress(readAddress(search))).toBe(search);
  });
  const definition: Definition = {
    name: 'd', title: 'd', rangeSeconds: 300, panels: [],
    variables: [{ name: 'country', title: 'Country', multi: true }, { name: 'size', title: 'Size', multi: false }],
  };
  const base = { filters: {}, zoom: null, range: null };
  const asked = panel('p', 'bar', [0, 0, 1, 1], { query: 'SELECT 1 WHERE t >= $from AND t < $to AND c IN ($country) AND s = $size' });
  test.each([
    ['nothing chosen', base, undefined],
    ['filters', { ...base, filters: { country: ['China'], size: ['L'], other: ['x'] } }, { country: ['China'], size: 'L' }],
    ['a range slides', { ...base, range: 900 }, { from: { ago_s: 900 } }],
    ["the file's range is no parameter", { ...base, range: 300 }, undefined],
    ['a zoom stands', { ...base, range: 900, zoom: { from: 1000, to: 2000 } }, { from: 1_000_000, to: 2_000_000 }],
  ])('parameters: %s', (_, state, params) => expect(paramsOf(asked, definition, state)).toEqual(params));
  test('a panel that does not follow the range keeps its own', () => {
    const fixed = panel('p', 'bar', [0, 0, 1, 1], { query: "SELECT 1 WHERE t > now() - interval '5 minutes'" });
    expect(paramsOf(fixed, definition, { ...base, range: 900 })).toBeUndefined();
    expect(rangeOf(fixed, definition, { zoom: null, range: 900 })).toBe(300);
    expect(rangeOf(asked, definition, { zoom: null, range: 900 })).toBe(900);
  });
});

test.each([
  ['live', 950, null, 'live 0.1 s'], ['live', 200, null, 'live 0.8 s'], ['stale', -11_400, null, 'no data for 12 s '], ['reconnecting', 0, 4200, 'reconnecting in 4 s'],
  ['reconnecting', 0, null, 'reconnecting '], ['connecting', 0, null, 'connecting '],
] as const)('%s, heard at %s', (state, heardMs, retryMs, words) => {
  const { word, detail } = freshness(state, heardMs, retryMs, 1000);
  expect(`${word} ${detail}`).toBe(words);
});
