// From `at = [column, row, width, height]` to pixels.
//
// A dashboard falls into bands: runs of rows that no panel crosses. On a desk, a band of stats alone is 136 px high;
// any other band is its title line (32 px) plus its rows, and a row is what makes the page fill the window, within
// limits. So theLook, with rows of 2, 4 and 6, is 136 + 264 + 380 px in a 900-px window and does not scroll.

import type { At, PanelDef } from './definition';

export const GAP = 16;
export const HEADER = 48;
export const BOTTOM = 24;
export const STAT_BAND = 136;
const TITLE = 32;
const ROW_MIN = 50;
const ROW_MAX = 112;

interface Band {
  readonly from: number;
  readonly to: number;
  readonly stats: boolean;
}

function bandsOf(panels: readonly PanelDef[]): Band[] {
  const sorted = [...panels].sort((a, b) => a.at[1] - b.at[1]);
  const bands: { from: number; to: number; stats: boolean }[] = [];
  for (const { at, chart } of sorted) {
    const [, row, , height] = at;
    const last = bands.at(-1);
    const stat = chart === 'stat';
    if (last && row < last.to) {
      last.to = Math.max(last.to, row + height);
      last.stats &&= stat;
    } else {
      // Rows left empty on purpose stay a gap of that height only in the file; the page closes them.
      bands.push({ from: row, to: row + height, stats: stat });
    }
  }
  return bands;
}

export interface Placed {
  readonly column: string;
  readonly row: string;
}

export interface Grid {
  /** `grid-template-rows`, one track a row of the file. */
  readonly rows: string;
  readonly place: ReadonlyMap<string, Placed>;
}

/** The desk layout for a window of `windowHeight` px, of which `above` are taken by header and notices. */
export function gridOf(panels: readonly PanelDef[], windowHeight: number, above: number = HEADER): Grid {
  const bands = bandsOf(panels);
  const free = windowHeight - above - GAP - BOTTOM - GAP * Math.max(0, bands.length - 1);
  const flexible = bands.filter((band) => !band.stats);
  const units = flexible.reduce((sum, band) => sum + band.to - band.from, 0);
  const left = free - STAT_BAND * (bands.length - flexible.length) - TITLE * flexible.length;
  const unit = Math.min(ROW_MAX, Math.max(ROW_MIN, left / Math.max(1, units)));

  const tracks: string[] = [];
  const trackOf = new Map<number, number>();
  for (const band of bands) {
    const span = band.to - band.from;
    const height = band.stats ? STAT_BAND : TITLE + span * unit;
    const track = (height - (span - 1) * GAP) / span;
    for (let row = band.from; row < band.to; row++) {
      trackOf.set(row, tracks.length + 1);
      tracks.push(`${Math.max(8, Math.round(track * 1000) / 1000)}px`);
    }
  }
  const place = new Map<string, Placed>();
  for (const { id, at } of panels) {
    const [column, row, width, height] = at;
    place.set(id, { column: `${column + 1} / span ${width}`, row: `${trackOf.get(row) ?? 1} / span ${height}` });
  }
  return { rows: tracks.join(' '), place };
}

/** Reading order: top to bottom, left to right. Also the order of focus. */
export function readingOrder(panels: readonly PanelDef[]): PanelDef[] {
  return [...panels].sort((a, b) => a.at[1] - b.at[1] || a.at[0] - b.at[0]);
}

const area = (at: At): number => at[2] * at[3];

/** What comes first on a phone: the number, then its trend, then its parts (the largest first), then the rows. */
function rank(chart: string, timed: boolean): number {
  if (chart === 'stat' || chart === 'gauge') return 0;
  if (chart === 'line' || chart === 'area' || timed) return 1;
  return chart === 'table' ? 3 : 2;
}

/** The order of the one column on a phone. A page with text panels is a story, told in its own order. */
export function phoneOrder(panels: readonly PanelDef[], timed: (panel: PanelDef) => boolean): PanelDef[] {
  const reading = readingOrder(panels);
  if (panels.some((panel) => panel.chart === 'text')) return reading;
  return reading
    .map((panel, index) => ({ panel, index, rank: rank(panel.chart, timed(panel)) }))
    .sort((a, b) => a.rank - b.rank || (a.rank === 2 ? area(b.panel.at) - area(a.panel.at) : 0) || a.index - b.index)
    .map(({ panel }) => panel);
}
