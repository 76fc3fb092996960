// How the server keeps each panel's query, for the page's freshness note.

import { createStore } from '../ui/store';

export type Mode = 'incremental' | 'reevaluated';

export const modes = createStore<Record<string, Mode | undefined>>({});

export function noteMode(panel: string, mode: Mode | null): void {
  if (modes.get()[panel] !== (mode ?? undefined)) modes.set({ [panel]: mode ?? undefined });
}
