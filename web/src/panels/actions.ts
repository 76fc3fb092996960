// What can be done with a panel, from its menu and from the keyboard.

import { drawnFrame } from '../feed/debug';
import { toCsv } from './TableForm';

export const panelNode = (id: string): HTMLElement | null =>
  document.querySelector<HTMLElement>(`[data-panel="${CSS.escape(id)}"]`);

/** The panel that has the focus, else the one that is pointed at. */
export function panelInFocus(): string | null {
  const node = document.activeElement?.closest<HTMLElement>('[data-panel]') ?? document.querySelector<HTMLElement>('[data-panel]:hover');
  return node?.dataset.panel ?? null;
}

export function toggleFullScreen(id: string): void {
  if (document.fullscreenElement) void document.exitFullscreen();
  else void panelNode(id)?.requestFullscreen?.().catch(() => undefined);
}

/** Saves what the panel shows as a CSV file. */
export function downloadCsv(id: string): void {
  const frame = drawnFrame(id);
  if (!frame) return;
  const url = URL.createObjectURL(new Blob([toCsv(frame)], { type: 'text/csv;charset=utf-8' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = `${id}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
