// Times and spans as people say them. The zone is the browser's, or UTC when the page is switched to it.

export type Zone = 'local' | 'utc';

const formats = new Map<string, Intl.DateTimeFormat>();

function format(zone: Zone, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = zone + JSON.stringify(options);
  let found = formats.get(key);
  if (!found) {
    found = new Intl.DateTimeFormat('en-GB', { ...options, ...(zone === 'utc' ? { timeZone: 'UTC' } : {}) });
    formats.set(key, found);
  }
  return found;
}

const CLOCK = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' } as const;
const MINUTE = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const;
const DAY = { day: 'numeric', month: 'short' } as const;

/** 14:03:07 */
export const clock = (ms: number, zone: Zone): string => format(zone, CLOCK).format(ms);
/** 14:03 */
export const minute = (ms: number, zone: Zone): string => format(zone, MINUTE).format(ms);
/** 3 Nov */
export const day = (ms: number, zone: Zone): string => format(zone, DAY).format(ms);

/** A row's time: the clock if it is of today, with the day before it if not. */
export function rowTime(ms: number, zone: Zone, now = Date.now()): string {
  if (!Number.isFinite(ms)) return '—';
  const date = day(ms, zone);
  if (date === day(now, zone) && Math.abs(now - ms) < 86_400_000) return clock(ms, zone);
  const year = new Date(ms).getUTCFullYear();
  return `${date}${year === new Date(now).getUTCFullYear() ? '' : ` ${year}`} ${clock(ms, zone)}`;
}

/** All of it, for hover and tables: 2026-11-22 14:03:07.123 */
export function exactTime(us: number, zone: Zone): string {
  if (!Number.isFinite(us)) return '—';
  const ms = us / 1000;
  const shifted = zone === 'utc' ? ms : ms - new Date(ms).getTimezoneOffset() * 60_000;
  const iso = new Date(shifted).toISOString().replace('T', ' ').slice(0, 23);
  const rest = ((us % 1000) + 1000) % 1000;
  return iso + (rest ? String(Math.floor(rest)).padStart(3, '0') : '');
}

/** The label of a tick on a time axis that spans `span` ms. */
export function tick(ms: number, span: number, zone: Zone): string {
  if (span <= 3 * 60_000) return clock(ms, zone);
  if (span <= 26 * 3_600_000) return minute(ms, zone);
  return span <= 8 * 86_400_000 ? `${day(ms, zone)} ${minute(ms, zone)}` : day(ms, zone);
}

const WORDS = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten', 'eleven', 'twelve'];
const UNITS: readonly [number, string][] = [[86_400, 'day'], [3600, 'hour'], [60, 'minute'], [1, 'second']];

function inUnit(seconds: number): [number, string] {
  for (const [size, name] of UNITS) if (seconds >= size && seconds % size === 0) return [seconds / size, name];
  return [seconds, 'second'];
}

/** "Last 5 minutes" */
export function lastRange(seconds: number): string {
  const [n, unit] = inUnit(seconds);
  return n === 1 ? `Last ${unit}` : `Last ${n} ${unit}s`;
}

/** A title that names the file's range names the one that is shown: "Sales, last 5 minutes" → "Sales, last hour". */
export function retitled(title: string, fileSeconds: number, shown: string | null): string {
  const said = lastRange(fileSeconds).toLowerCase();
  const at = title.toLowerCase().indexOf(said);
  return shown === null || at < 0 ? title : title.slice(0, at) + shown + title.slice(at + said.length);
}

/** "the five minutes before" */
export function rangeBefore(seconds: number): string {
  const [n, unit] = inUnit(seconds);
  return n === 1 ? `the ${unit} before` : `the ${WORDS[n] ?? n} ${unit}s before`;
}

/** "5 min before", where there is no room for more. */
export function rangeBeforeBrief(seconds: number): string {
  const [n, unit] = inUnit(seconds);
  return `${n} ${{ day: 'd', hour: 'h', minute: 'min', second: 's' }[unit] ?? unit} before`;
}

/** How long ago, coarsely: "now", "12 s ago", "3 min ago", "2 h ago", "5 days ago". */
export function ago(ms: number): string {
  const s = Math.max(0, ms) / 1000;
  if (s < 1.5) return 'now';
  if (s < 90) return `${Math.round(s)} s ago`;
  if (s < 5400) return `${Math.round(s / 60)} min ago`;
  if (s < 129_600) return `${Math.round(s / 3600)} h ago`;
  return `${Math.round(s / 86_400)} days ago`;
}
