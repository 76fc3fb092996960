// May things move? Asked each time: the setting can change while the page is open.

const still = window.matchMedia('(prefers-reduced-motion: reduce)');

export const mayMove = (): boolean => !still.matches;

/** The longest that a changed value takes to arrive. */
export const GLIDE_MS = 200;
