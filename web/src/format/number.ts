// Numbers as people read them: 1,284 · 12.8k · 3.42M. Exact in tables and on hover.

const GROUPED = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const EXACT = new Intl.NumberFormat('en-US', { maximumFractionDigits: 6 });
const EXACT_MONEY = new Intl.NumberFormat('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 });

const MONEY: Readonly<Record<string, string>> = {
  USD: '$', EUR: '€', GBP: '£', JPY: '¥', CNY: 'CN¥', INR: '₹', KRW: '₩', BRL: 'R$', CHF: 'CHF ', PLN: 'zł ',
};
const STEPS: readonly [number, string][] = [[1e12, 'T'], [1e9, 'B'], [1e6, 'M'], [1e3, 'k']];
const BYTES: readonly [number, string][] = [[2 ** 40, ' TiB'], [2 ** 30, ' GiB'], [2 ** 20, ' MiB'], [2 ** 10, ' KiB']];

const isMoney = (unit: string | undefined): boolean => unit !== undefined && unit in MONEY;
const isBytes = (unit: string | undefined): boolean => unit === 'B' || unit === 'bytes';

/** Three significant digits over a step: 12.8k, 128k, 3.42M. */
function stepped(size: number, steps: readonly [number, string][]): string | null {
  for (let i = 0; i < steps.length; i++) {
    const [step, letter] = steps[i]!;
    if (size < step * 0.9995) continue;
    const scaled = size / step;
    return scaled.toFixed(scaled < 9.995 ? 2 : scaled < 99.95 ? 1 : 0) + letter;
  }
  return null;
}

function shortSize(size: number, unit: string | undefined): string {
  if (isBytes(unit)) return stepped(size, BYTES) ?? GROUPED.format(size);
  if (size >= 9_999.5) return stepped(size, STEPS)!;
  if (isMoney(unit) && size < 999.995) return size.toFixed(2);
  if (Number.isInteger(size) || size >= 999.5) return GROUPED.format(size);
  return size >= 99.95 ? size.toFixed(1) : size >= 0.01 || size === 0 ? size.toFixed(2) : size.toPrecision(2);
}

function withUnit(sign: string, digits: string, unit: string | undefined): string {
  if (!unit) return sign + digits;
  if (isMoney(unit)) return sign + MONEY[unit] + digits;
  if (unit === '%' || unit === 'percent') return `${sign}${digits} %`;
  if (isBytes(unit)) return sign + digits + (/[a-zB]$/.test(digits) ? '' : ' B');
  return `${sign}${digits} ${unit}`;
}

/** Short form, at most five digits wide. An em dash for no value. */
export function short(value: number, unit?: string): string {
  if (!Number.isFinite(value)) return '—';
  return withUnit(value < 0 ? '−' : '', shortSize(Math.abs(value), unit), unit);
}

/** On an axis, where ticks are round: 0, $500, $1k, $1.5k, $12k. */
export function axis(value: number, unit?: string): string {
  const size = Math.abs(value);
  if (size === 0) return '0';
  const stepsOf = isBytes(unit) ? BYTES : STEPS;
  const digits = (stepped(size, stepsOf) ?? String(Number(size.toPrecision(3)))).replace(/(\.\d*?)0+(\D*)$/, '$1$2').replace(/\.(\D*)$/, '$1');
  return withUnit(value < 0 ? '−' : '', digits, unit);
}

/** Every digit that matters, grouped. */
export function exact(value: number, unit?: string): string {
  if (!Number.isFinite(value)) return '—';
  const digits = (isMoney(unit) ? EXACT_MONEY : EXACT).format(Math.abs(value));
  return withUnit(value < 0 ? '−' : '', digits, unit);
}

/** A change against what was: `{ arrow: '▲', word: 'up', text: '4.2 %' }`; null if there is nothing to compare. */
export function change(value: number, before: number): { arrow: string; word: string; text: string } | null {
  if (!Number.isFinite(value) || !Number.isFinite(before)) return null;
  if (before === 0) return value === 0 ? { arrow: '=', word: 'unchanged', text: '0 %' } : null;
  const percent = ((value - before) / Math.abs(before)) * 100;
  const size = Math.abs(percent);
  const text = `${size >= 1000 ? GROUPED.format(size) : size >= 99.95 ? size.toFixed(0) : size.toFixed(1)} %`;
  if (text === '0.0 %') return { arrow: '=', word: 'unchanged', text: '0.0 %' };
  return percent > 0 ? { arrow: '▲', word: 'up', text } : { arrow: '▼', word: 'down', text };
}

/** "1 row", "1,284 rows". */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${short(n)} ${n === 1 ? one : many}`;
}

/** Rows a second: one decimal while it is small enough to matter. */
export function rate(perSecond: number): string {
  if (!Number.isFinite(perSecond)) return '—';
  return perSecond < 100 && !Number.isInteger(perSecond) ? perSecond.toFixed(1) : short(perSecond);
}
