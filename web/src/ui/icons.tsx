// The few pictures the page needs, drawn with strokes in the colour of the text.

import type { JSX, ReactNode } from 'react';

const icon = (children: ReactNode) => (): JSX.Element => (
  <svg className="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">{children}</svg>
);

export const More = icon(<><circle cx="3" cy="8" r="1.2" /><circle cx="8" cy="8" r="1.2" /><circle cx="13" cy="8" r="1.2" /></>);
export const Down = icon(<path d="m4 6.5 4 4 4-4" />);
export const Cross = icon(<path d="m4.5 4.5 7 7m0-7-7 7" />);
export const Check = icon(<path d="m3.5 8.5 3 3 6-7" />);
export const Sun = icon(<><circle cx="8" cy="8" r="2.8" /><path d="M8 1.5v1.6m0 9.8v1.6M1.5 8h1.6m9.8 0h1.6M3.4 3.4l1.1 1.1m7 7 1.1 1.1m0-9.2-1.1 1.1m-7 7-1.1 1.1" /></>);
export const Moon = icon(<path d="M13.2 9.8A5.6 5.6 0 0 1 6.2 2.8a5.6 5.6 0 1 0 7 7Z" />);
export const Auto = icon(<><circle cx="8" cy="8" r="5.6" /><path d="M8 2.4v11.2a5.6 5.6 0 0 0 0-11.2Z" fill="currentColor" stroke="none" /></>);
export const Keys = icon(<><rect x="1.5" y="4" width="13" height="8.5" rx="1.6" /><path d="M4.2 7h.01M6.8 7h.01M9.3 7h.01M11.8 7h.01M5 9.8h6" /></>);
export const Copy = icon(<><rect x="5.5" y="5.5" width="8" height="8" rx="1.5" /><path d="M10.5 3.3A1.5 1.5 0 0 0 9 2.5H4A1.5 1.5 0 0 0 2.5 4v5a1.5 1.5 0 0 0 .8 1.3" /></>);

/** Nowcast's mark: a line that reaches the present. */
export const Mark = (): JSX.Element => (
  <svg className="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
    <rect width="32" height="32" rx="8" />
    <path d="M6 20h4.5l3.5-9 4.5 13 3-8H24" />
    <circle cx="25.4" cy="16" r="2.4" />
  </svg>
);
