// What the visitor chose on this page: filters, zoom, zone, open tables. One store; the address bar follows it for
// what somebody may want to send to a colleague, and it follows the address bar on back and forward.

import type { Zone } from '../format/time';
import { go, onNavigate } from '../router';
import { createStore } from '../ui/store';
import { type Address, readAddress, writeAddress, type Zoom } from './address';

export interface PageState extends Address {
  readonly zone: Zone;
  /** Panels that are shown as tables. */
  readonly asTable: ReadonlySet<string>;
  readonly help: boolean;
  /** The panel whose query is shown. */
  readonly sql: string | null;
}

const ZONE_KEY = 'nowcast.zone';

function storedZone(): Zone {
  try {
    return localStorage.getItem(ZONE_KEY) === 'utc' ? 'utc' : 'local';
  } catch {
    return 'local'; // storage may be forbidden
  }
}

export const page = createStore<PageState>({
  ...readAddress(location.search), zone: storedZone(), asTable: new Set(), help: false, sql: null,
});

onNavigate(() => page.set(readAddress(location.search)));

function address(change: Partial<Address>): void {
  go(location.pathname + writeAddress({ ...page.get(), ...change }));
}

export function setFilter(name: string, values: readonly string[]): void {
  const { [name]: _, ...rest } = page.get().filters;
  address({ filters: values.length > 0 ? { ...rest, [name]: values } : rest });
}

/** A click on a bar: takes the value in, or out again. */
export function toggleFilter(name: string, value: string, multi: boolean): void {
  const values = page.get().filters[name] ?? [];
  if (values.includes(value)) setFilter(name, values.filter((v) => v !== value));
  else setFilter(name, multi ? [...values, value] : [value]);
}

/** A fixed range; null goes back to live. */
export function setZoom(zoom: Zoom | null): void {
  if (zoom !== page.get().zoom) address({ zoom });
}
export const setRange = (range: number | null): void => address({ range, zoom: null });
export const setHelp = (help: boolean): void => page.set({ help });
export const showSql = (sql: string | null): void => page.set({ sql });

export function setZone(zone: Zone): void {
  try {
    localStorage.setItem(ZONE_KEY, zone);
  } catch {
    // kept for this page only
  }
  page.set({ zone });
}

export function toggleTable(ids: readonly string[]): void {
  page.set(({ asTable }) => {
    const next = new Set(asTable);
    const all = ids.every((id) => next.has(id));
    for (const id of ids) {
      if (all) next.delete(id);
      else next.add(id);
    }
    return { asTable: next };
  });
}

/** Esc: the innermost thing first. True if there was something to clear. */
export function clearSelection(): boolean {
  const { filters, zoom, help } = page.get();
  if (help) {
    setHelp(false);
    return true;
  }
  if (Object.keys(filters).length === 0 && !zoom) return false;
  address({ filters: {}, zoom: null });
  return true;
}
