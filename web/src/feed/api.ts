// Plain requests to the server, for what is not live.

import type { LiveError } from './types';

export class ApiError extends Error {
  constructor(readonly detail: LiveError, readonly status: number) {
    super(detail.message);
  }
}

/** GETs JSON. Rejects with an ApiError that has words for people. */
export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, { headers: { accept: 'application/json' }, signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError({ message: 'the server does not answer', hint: 'check that nowcast is running' }, 0);
  }
  const body: unknown = await response.json().catch(() => null);
  if (!response.ok) {
    const said = (body ?? {}) as { error?: unknown; message?: unknown; hint?: string; line?: number; column?: number };
    const message = [said.error, said.message].find((text) => typeof text === 'string') as string | undefined;
    throw new ApiError(
      { message: message ?? `the server answered ${response.status}`, hint: said.hint, line: said.line, column: said.column },
      response.status,
    );
  }
  return body as T;
}

export interface TableInfo {
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  readonly timestamp: string | null;
  readonly partition_by: string;
  readonly rows: number;
  readonly rows_per_second: number;
  readonly bytes: number;
  /** The newest row's time: µs since 1970 UTC, or ISO 8601. */
  readonly newest: number | string | null;
  /** The server writes it itself: nobody made it. */
  readonly system: boolean;
}

export interface DashboardInfo {
  readonly name: string;
  readonly title: string;
  readonly panels: number | readonly unknown[];
  readonly error: unknown;
}

export interface ViewInfo {
  readonly id: number | string;
  readonly query: string;
  readonly mode: string;
  readonly reason: string | null;
  readonly viewers: number;
  readonly evaluations: number;
}

export interface StatusInfo {
  readonly version?: string;
  readonly rows_per_second: number;
  readonly viewers: number;
  readonly position: string | number;
  readonly uptime_s?: number;
  readonly views: readonly ViewInfo[];
  readonly [more: string]: unknown;
}

/** `public` needs no mention. */
export const tablePath = (table: Pick<TableInfo, 'schema' | 'name'>): string =>
  !table.schema || table.schema === 'public' ? table.name : `${table.schema}.${table.name}`;

/** The newest row's time in ms, or NaN. */
export function newestMs(newest: number | string | null | undefined): number {
  if (typeof newest === 'number') return newest / 1000;
  return typeof newest === 'string' ? Date.parse(newest) : NaN;
}

/** Runs a query once and returns its rows. */
export async function exec(query: string, signal?: AbortSignal): Promise<(string | number | boolean | null)[][]> {
  const answer = await getJson<{ dataset?: (string | number | boolean | null)[][] }>(
    `/exec?query=${encodeURIComponent(query)}`, signal);
  return answer.dataset ?? [];
}
