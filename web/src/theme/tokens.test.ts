// Both themes, measured: text at least 4.5:1, graphics at least 3:1, and series that stay apart for everyone.

import { describe, expect, test } from 'vitest';
import { SERIES_COUNT, seriesColour, type Theme, tokens } from './tokens';

type Rgb = [number, number, number];
const linear = (c: number): number => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
const rgb = (hex: string): Rgb => [1, 3, 5].map((i) => linear(parseInt(hex.slice(i, i + 2), 16) / 255)) as Rgb;
const luminance = ([r, g, b]: Rgb): number => 0.2126 * r + 0.7152 * g + 0.0722 * b;

/** WCAG 2.2, 1.4.3. */
function contrast(a: string, b: string): number {
  const [x, y] = [luminance(rgb(a)), luminance(rgb(b))].sort((m, n) => n - m) as [number, number];
  return (x + 0.05) / (y + 0.05);
}

// Machado, Oliveira and Fernandes (2009), severity 1, in linear RGB.
const VISIONS: Record<string, readonly number[]> = {
  full: [1, 0, 0, 0, 1, 0, 0, 0, 1],
  protanopia: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
  deuteranopia: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
  tritanopia: [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039],
};

/** OKLab (Ottosson, 2020), where 0.02 is a difference that is just seen. */
function oklab([r, g, b]: Rgb): Rgb {
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s, 1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s, 0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s];
}

function seen(hex: string, vision: readonly number[]): Rgb {
  const [r, g, b] = rgb(hex);
  return oklab([0, 3, 6].map((i) => Math.min(1, Math.max(0, vision[i]! * r + vision[i + 1]! * g + vision[i + 2]! * b))) as Rgb);
}

const SURFACES = ['ground', 'surface', 'raised'];
const TEXT: readonly (readonly [ink: string, on: readonly string[]])[] = [
  ['ink', [...SURFACES, 'sunken']],
  ['ink-2', [...SURFACES, 'sunken', 'quiet-soft']],
  ['ink-3', SURFACES],
  ['accent', [...SURFACES, 'accent-soft', 'info-soft']],
  ['accent-ink', ['accent']],
  ['good', ['surface', 'good-soft']],
  ['bad', ['surface', 'bad-soft']],
  ['warn', ['surface', 'warn-soft']],
  ['ink', ['bad-soft']],
  ['ink-2', ['bad-soft']],
];

describe.each<Theme>(['light', 'dark'])('%s', (theme) => {
  const all = tokens(theme);

  test.each(TEXT.flatMap(([ink, on]) => on.map((surface) => [ink, surface])))('text %s on %s', (ink, surface) => {
    expect(contrast(all[ink!]!, all[surface!]!)).toBeGreaterThanOrEqual(4.5);
  });

  test.each(Array.from({ length: SERIES_COUNT }, (_, i) => i))('series %i as a graphic', (i) => {
    expect(contrast(seriesColour(theme, i), all.surface!)).toBeGreaterThanOrEqual(3);
  });

  test.each(Object.entries(VISIONS))('series stay apart, %s', (_, vision) => {
    for (let a = 0; a < SERIES_COUNT; a++) {
      for (let b = 0; b < a; b++) {
        const [x, y] = [seen(seriesColour(theme, a), vision), seen(seriesColour(theme, b), vision)];
        const distance = Math.hypot(x[0] - y[0], x[1] - y[1], x[2] - y[2]);
        expect(distance, `series ${b + 1} and ${a + 1}`).toBeGreaterThanOrEqual(0.09);
      }
    }
  });
});
