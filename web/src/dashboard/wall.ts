// `?wall`: no chrome, and everything as large as the window allows.

/** The window that a wall's page is laid out for; a larger one enlarges all of it. */
const WALL = { width: 1440, height: 852 };

/** How much larger everything is on a wall. */
export const wallZoom = (width: number, height: number): number =>
  Math.min(4, Math.max(1, Math.min(width / WALL.width, height / WALL.height)));
