// Light, dark or as the system says; kept in this browser.

import { createStore, useStore } from '../ui/store';
import type { Theme } from './tokens';

export type Mode = 'system' | Theme;

const KEY = 'nowcast.theme';
const dark = window.matchMedia('(prefers-color-scheme: dark)');
const paper = window.matchMedia('print');

function stored(): Mode {
  try {
    const mode = localStorage.getItem(KEY);
    return mode === 'light' || mode === 'dark' ? mode : 'system';
  } catch {
    return 'system'; // storage may be forbidden
  }
}

/** Paper is light. */
const resolve = (mode: Mode): Theme => (paper.matches ? 'light' : mode === 'system' ? (dark.matches ? 'dark' : 'light') : mode);

const store = createStore<{ mode: Mode; theme: Theme }>({ mode: stored(), theme: resolve(stored()) });

function show(): void {
  const { mode } = store.get();
  if (mode === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = mode;
  store.set({ theme: resolve(mode) });
}

dark.addEventListener('change', show);
paper.addEventListener('change', show);
show();

export function setMode(mode: Mode): void {
  try {
    localStorage.setItem(KEY, mode);
  } catch {
    // kept for this page only
  }
  store.set({ mode });
  show();
}

const NEXT: Record<Mode, Mode> = { system: 'light', light: 'dark', dark: 'system' };
export const nextMode = (mode: Mode): Mode => NEXT[mode];
export const currentMode = (): Mode => store.get().mode;
export const useMode = (): Mode => useStore(store, (s) => s.mode);
export const useTheme = (): Theme => useStore(store, (s) => s.theme);
