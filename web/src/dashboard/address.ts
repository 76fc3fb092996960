// What of a page's state stands in its address, and what of it a panel's query takes as parameters. Pure.

import type { Params, ParamValue } from '../feed/types';
import { type Definition, type PanelDef, uses } from './definition';

export type Filters = Readonly<Record<string, readonly string[]>>;

export interface Zoom {
  /** ms since 1970. */
  readonly from: number;
  readonly to: number;
}

/** What of the page stands in its address. */
export interface Address {
  readonly filters: Filters;
  /** A fixed range instead of the live one. */
  readonly zoom: Zoom | null;
  /** Another live range than the file's, in seconds. */
  readonly range: number | null;
  readonly wall: boolean;
}

/** Address parameters that are no variables. */
const RESERVED = new Set(['from', 'to', 'range', 'wall']);
export function readAddress(search: string): Address {
  const given = new URLSearchParams(search);
  const filters: Record<string, string[]> = {};
  for (const name of new Set(given.keys())) if (!RESERVED.has(name)) filters[name] = given.getAll(name);
  const from = Number(given.get('from') ?? NaN);
  const to = Number(given.get('to') ?? NaN);
  const range = Number(given.get('range') ?? NaN);
  return { filters, zoom: from < to ? { from, to } : null, range: range > 0 ? range : null, wall: given.has('wall') };
}

export function writeAddress({ filters, zoom, range, wall }: Address): string {
  const given = new URLSearchParams();
  for (const [name, values] of Object.entries(filters)) for (const value of values) given.append(name, value);
  if (zoom) {
    given.set('from', String(Math.round(zoom.from)));
    given.set('to', String(Math.round(zoom.to)));
  }
  if (range !== null) given.set('range', String(range));
  const text = given.toString() + (wall ? `${given.size ? '&' : ''}wall` : '');
  return text ? `?${text}` : '';
}

/** The parameters that a panel's query names and that are not at their defaults. */
export function paramsOf(panel: PanelDef, definition: Definition, { filters, zoom, range }: Omit<Address, 'wall'>): Params | undefined {
  const params: Record<string, ParamValue> = {};
  for (const { name, multi } of definition.variables) {
    const values = filters[name];
    if (!values?.length || !uses(panel.query, name)) continue;
    params[name] = multi ? values : values[0]!;
  }
  if (zoom && uses(panel.query, 'from')) {
    params.from = Math.round(zoom.from * 1000);
    params.to = Math.round(zoom.to * 1000);
  } else if (range !== null && range !== definition.rangeSeconds && uses(panel.query, 'from')) {
    params.from = { ago_s: range };
  }
  return Object.keys(params).length > 0 ? params : undefined;
}

/** The seconds that a panel covers now. */
export function rangeOf(panel: PanelDef, definition: Definition, { zoom, range }: Pick<Address, 'zoom' | 'range'>): number {
  if (!uses(panel.query, 'from')) return definition.rangeSeconds;
  return zoom ? Math.max(1, Math.round((zoom.to - zoom.from) / 1000)) : range ?? definition.rangeSeconds;
}
