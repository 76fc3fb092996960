// Reads tokens.css, the one place where colours are written, for those who cannot use CSS: charts and tests.

import css from './tokens.css?raw';

export type Theme = 'light' | 'dark';
export type Tokens = Readonly<Record<string, string>>;

/** All `--name: light-dark(a, b)` of a style sheet, by theme. */
export function parseTokens(text: string): Record<Theme, Record<string, string>> {
  const light: Record<string, string> = {};
  const dark: Record<string, string> = {};
  for (const found of text.matchAll(/--([\w-]+):\s*light-dark\((#[0-9a-f]{6}),\s*(#[0-9a-f]{6})\)/gi)) {
    light[found[1]!] = found[2]!;
    dark[found[1]!] = found[3]!;
  }
  return { light, dark };
}

const parsed = parseTokens(css);

export const SERIES_COUNT = 8;

export const tokens = (theme: Theme): Tokens => parsed[theme];

/** The colour of the nth series, counted from 0; comes round after eight. */
export const seriesColour = (theme: Theme, index: number): string =>
  parsed[theme][`series-${(index % SERIES_COUNT) + 1}`]!;
