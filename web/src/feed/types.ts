// What the page knows of a live subscription and of the connection below it.

import type { Params, Target } from '../../../clients/js/src/index';
import type { Frame } from '../frames/frame';

export type { Params, ParamValue } from '../../../clients/js/src/index';

/** What to keep live: a query, a dashboard's panel, or a dashboard's definition. */
export interface LiveRequest {
  readonly target: Target;
  /** By name, without the `$`; absent means "all" or the default. */
  readonly params?: Params;
}

/** An error for people: the fact, the place, the remedy. */
export interface LiveError {
  readonly code?: string;
  readonly message: string;
  readonly hint?: string;
  readonly line?: number;
  readonly column?: number;
  readonly file?: string;
}

export type Phase = 'loading' | 'seeding' | 'live' | 'error';

/** One live table at the moment that is drawn. Replaced, never changed. */
export interface LiveState {
  readonly phase: Phase;
  /** Kept through errors and reconnects: values are dimmed, never blanked. */
  readonly frame: Frame | null;
  /** While seeding: 0 to 100. */
  readonly percent: number;
  readonly error: LiveError | null;
  /** The server holds more rows than it sends. */
  readonly truncated: boolean;
  readonly mode: 'incremental' | 'reevaluated' | null;
  /** Re-evaluated and not yet at the page's moment. */
  readonly behind: boolean;
  /** The version that it shows while it is behind. */
  readonly behindAt: number | null;
  /** The frame answers the request before this one; the new one is on its way. */
  readonly changing: boolean;
}

export const LOADING: LiveState = {
  phase: 'loading', frame: null, percent: 0, error: null, truncated: false, mode: null, behind: false, behindAt: null, changing: false,
};

/** The page's one connection, as drawn. */
export interface Connection {
  readonly state: 'connecting' | 'live' | 'stale' | 'reconnecting' | 'closed';
  /** When the server was last heard: `Date.now()`; 0 before. */
  readonly heardMs: number;
  /** When the next attempt is made: `Date.now()`. */
  readonly retryMs: number | null;
  readonly reason: string | null;
  /** The server's tick in µs; NaN before the first. */
  readonly now: number;
  readonly version: number;
  readonly position: string;
  /** This browser's clock less the server's tick, in ms, as small as it was seen: places "now" on time axes. */
  readonly skewMs: number;
}
