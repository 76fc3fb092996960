// Cells as tables show them: times in the page's zone, long ids cut, numbers grouped.

import { type Cell, type Frame, isNumber, isTime } from '../frames/frame';
import { exact } from './number';
import { exactTime, rowTime, type Zone } from './time';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const MONEY_NAMES = /(^|_)(total|price|revenue|amount|cost|sales|value)(_|$)/i;
const STATUS_NAMES = /(^|_)(status|level|severity|result|outcome)$/i;
const FRACTIONAL = new Set(['DOUBLE', 'FLOAT', 'REAL', 'DECIMAL']);
const TWO = new Intl.NumberFormat('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export interface CellText {
  readonly text: string;
  /** What hover says, when that is more. */
  readonly full: string;
}

/** `created_at` → "Created at" */
export function heading(name: string): string {
  const words = name.replace(/_/g, ' ').trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export const isStatus = (name: string): boolean => STATUS_NAMES.test(name);

export function cellText(frame: Frame, column: number, row: number, zone: Zone, unit?: string): CellText {
  const { name, type } = frame.columns[column]!;
  if (isTime(frame.columns[column]!)) {
    const us = frame.timeUs(column, row);
    return Number.isNaN(us) ? NONE : { text: rowTime(us / 1000, zone), full: exactTime(us, zone) };
  }
  const cell: Cell = frame.cell(column, row);
  if (cell === null) return NONE;
  if (isNumber(frame.columns[column]!) && typeof cell === 'number') {
    const money = unit !== undefined && MONEY_NAMES.test(name);
    const full = exact(cell, money ? unit : undefined);
    if (money || !FRACTIONAL.has(type.toUpperCase())) return { text: full, full };
    return { text: Math.abs(cell) >= 0.01 || cell === 0 ? TWO.format(cell) : String(cell), full: String(cell) };
  }
  const text = String(cell);
  return { text: UUID.test(text) ? text.slice(0, 8) : text, full: text };
}

const NONE: CellText = { text: '—', full: 'no value' };

export type Tone = 'good' | 'bad' | 'warn' | 'info' | 'quiet';

const TONES: readonly [RegExp, Tone][] = [
  [/^(complete[d]?|ok|success(ful)?|delivered|done|up|healthy|filled|paid|info)$/i, 'good'],
  [/^(cancell?ed|fail(ed|ure)?|error|critical|fatal|down|rejected|denied)$/i, 'bad'],
  [/^(returned|warn(ing)?|pending|degraded|late|retry(ing)?)$/i, 'warn'],
  [/^(shipped|processing|running|active|open|new|started)$/i, 'info'],
];

/** How a status word is coloured; the word itself says it too. */
export const toneOf = (word: string): Tone => TONES.find(([test]) => test.test(word))?.[1] ?? 'quiet';
