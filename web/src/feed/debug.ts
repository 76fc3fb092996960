// `window.__nowcast`: what is drawn now, to read by tests and by the curious. Nothing on the page depends on it.

import type { Cell, Column, Frame } from '../frames/frame';

interface Handle {
  readonly now: number;
  readonly version: number;
  readonly behind: readonly unknown[];
  /** `newest` is false while a panel holds a newer frame back: a table takes rows over once a second. */
  frame(panelId: string): { columns: readonly Column[]; rows: Cell[][]; newest: boolean } | null;
}

interface Drawn {
  readonly frame: Frame;
  readonly newest: boolean;
}

const drawn = new Map<string, Drawn>();
const moment = { now: NaN, version: 0, behind: [] as readonly unknown[] };

/** A panel tells what it has drawn, and whether that is the newest that it was given. */
export function noteDrawn(panelId: string, frame: Frame | null, newest = true): void {
  if (frame) drawn.set(panelId, { frame, newest });
  else drawn.delete(panelId);
}

/** What a panel has drawn; null before the first time. */
export const drawnFrame = (panelId: string): Frame | null => drawn.get(panelId)?.frame ?? null;

export function noteMoment(now: number, version: number, behind: readonly unknown[]): void {
  Object.assign(moment, { now, version, behind });
}

declare global {
  interface Window {
    __nowcast?: Handle;
  }
}

window.__nowcast = Object.freeze({
  get now() { return moment.now; },
  get version() { return moment.version; },
  get behind() { return moment.behind; },
  frame(panelId: string) {
    const found = drawn.get(panelId);
    return found ? { columns: found.frame.columns, rows: found.frame.rows(), newest: found.newest } : null;
  },
});
