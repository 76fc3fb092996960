// How fresh the page is, in words.

import type { Connection } from '../feed/types';

/** The pill's words. `heardMs` is when the server was last heard. */
export function freshness(state: Connection['state'], heardMs: number, retryMs: number | null, nowMs: number): { word: string; detail: string } {
  const age = Math.max(0, (nowMs - heardMs) / 1000);
  switch (state) {
    case 'live': return { word: 'live', detail: `${Math.max(0.1, age).toFixed(1)} s` };
    case 'stale': return { word: `no data for ${Math.max(3, Math.floor(age))} s`, detail: '' };
    case 'reconnecting': {
      const wait = retryMs === null ? 0 : Math.ceil((retryMs - nowMs) / 1000);
      return { word: 'reconnecting', detail: wait > 1 ? `in ${wait} s` : '' };
    }
    case 'closed': return { word: 'closed', detail: '' };
    default: return { word: 'connecting', detail: '' };
  }
}
