// A dashboard as the server sends it. Reading is lenient: what is missing gets a default, what is unknown is kept
// out of the way, so that an older page shows a newer server's dashboards as far as it can.

import type { LiveError } from '../feed/types';

export type At = readonly [column: number, row: number, width: number, height: number];

export interface PanelDef {
  readonly id: string;
  readonly title: string;
  readonly chart: string;
  readonly at: At;
  readonly unit?: string;
  readonly query: string;
  /** The variable that a click on a bar sets. */
  readonly filter?: string;
  /** The server offers `{panel}/compare`: the same over the equal range before. */
  readonly compare: boolean;
  /** The server offers `{panel}/spark`: the same as a short line. */
  readonly spark: boolean;
  /** The line of a page that the server does not know by name. */
  readonly sparkQuery?: string;
  readonly description?: string;
  /** For chart = "text". */
  readonly text?: string;
  readonly min?: number;
  readonly max?: number;
}

export interface VariableDef {
  readonly name: string;
  readonly title: string;
  readonly query?: string;
  readonly options?: readonly string[];
  readonly multi: boolean;
}

export interface Definition {
  readonly name: string;
  readonly title: string;
  readonly rangeSeconds: number;
  readonly variables: readonly VariableDef[];
  readonly panels: readonly PanelDef[];
  /** `query`: a page that was made here, not from a file; its panels subscribe by their query. */
  readonly source?: 'query';
}

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);
const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
const number = (value: unknown): number | undefined => (typeof value === 'number' && Number.isFinite(value) ? value : undefined);
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

/** Reads a definition; null if it is none. */
export function readDefinition(json: unknown, name: string): Definition | null {
  if (!isObject(json)) return null;
  const panels = list(json.panels ?? json.panel).filter(isObject).map(readPanel);
  return {
    name: text(json.name) ?? name,
    title: text(json.title) ?? name,
    rangeSeconds: number(json.range_s) ?? seconds(json.range) ?? 300,
    variables: list(json.variables ?? json.variable).filter(isObject).map(readVariable),
    panels,
  };
}

function readPanel(json: Json, index: number): PanelDef {
  const at = list(json.at).map(number);
  const has = (key: string): boolean => json[key] !== undefined && json[key] !== null && json[key] !== false;
  return {
    id: text(json.id) ?? slug(text(json.title) ?? '') ?? `panel-${index + 1}`,
    title: text(json.title) ?? text(json.id) ?? `Panel ${index + 1}`,
    chart: text(json.chart) ?? 'table',
    at: at.length === 4 && at.every((n) => n !== undefined) ? (at as unknown as At) : [0, index * 4, 12, 4],
    unit: text(json.unit),
    query: text(json.query) ?? '',
    filter: text(json.filter),
    compare: has('compare'),
    spark: has('spark'),
    description: text(json.description),
    text: text(json.text) ?? text(json.markdown),
    min: number(json.min),
    max: number(json.max),
  };
}

function readVariable(json: Json): VariableDef {
  const name = text(json.name) ?? '';
  const options = list(json.options ?? json.values).filter((o): o is string => typeof o === 'string');
  return {
    name,
    title: text(json.title) ?? text(json.label) ?? name.charAt(0).toUpperCase() + name.slice(1).replace(/_/g, ' '),
    query: text(json.query),
    options: options.length > 0 ? options : undefined,
    multi: json.multi === true,
  };
}

/** The id that the server makes of a title. */
function slug(title: string): string | undefined {
  return title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '') || undefined;
}

function seconds(value: unknown): number | undefined {
  const found = /^(\d+)\s*([smhd])$/.exec(text(value) ?? '');
  return found ? Number(found[1]) * { s: 1, m: 60, h: 3600, d: 86_400 }[found[2] as 's' | 'm' | 'h' | 'd'] : undefined;
}

/** Reads the `error` that goes with a definition: an object or its JSON text. */
export function readError(value: unknown): LiveError | null {
  if (typeof value === 'string' && value !== '') {
    try {
      return readError(JSON.parse(value));
    } catch {
      return { message: value };
    }
  }
  if (!isObject(value)) return null;
  return {
    message: text(value.message) ?? text(value.error) ?? 'the file cannot be read',
    hint: text(value.hint),
    line: number(value.line),
    column: number(value.column),
    file: text(value.file),
  };
}

/** Does a query use `$name`? */
export const uses = (query: string, name: string): boolean =>
  new RegExp(`\\$(?:\\{)?${name.replace(/[^\w]/g, '\\$&')}\\b`).test(query);
