// `window.__nowcast`: what is drawn now, to read by tests and by the curious. Nothing on the page depends on it.

import type { Cell, Column, Frame } from '../frames/frame';

interface Handle {
  readonly now: number;
  readonly version: number;
  readonly behind: readonly unknown[];
  frame(panelId: string): { columns: readonly Column[]; rows: Cell[][] } | null;
}

const frames = new Map<string, Frame>();
const moment = { now: NaN, version: 0, behind: [] as readonly unknown[] };

/** A panel tells what it has drawn. */
export function noteDrawn(panelId: string, frame: Frame | null): void {
  if (frame) frames.set(panelId, frame);
  else frames.delete(panelId);
}

/** What a panel has drawn; null before the first time. */
export const drawnFrame = (panelId: string): Frame | null => frames.get(panelId) ?? null;

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
    const frame = frames.get(panelId);
    return frame ? { columns: frame.columns, rows: frame.rows() } : null;
  },
});
