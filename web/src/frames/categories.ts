// The bars of a category chart over time: which there are, and in which order.
//
// A category once seen keeps its bar at zero, so that "no sales in Poland" stays readable, and bars change places
// at most every RESORT_MS, so that the eye can follow; values move at once.

import type { Frame } from './frame';
import { shapeOf } from './shape';

export const RESORT_MS = 2000;
/** More bars than fit anywhere help nobody; the table form still shows every row. */
export const BARS_MAX = 200;

export interface Bar {
  readonly name: string;
  readonly value: number;
}

export class Categories {
  private readonly seen = new Map<string, number>();
  private order: string[] = [];
  private sortedAt = -Infinity;

  /** Takes the frame's values at `now` (ms, any origin) and returns the bars in the order to draw. */
  update(frame: Frame, now: number): Bar[] {
    const { category, values } = shapeOf(frame);
    const column = values[0] ?? -1;
    for (const name of this.seen.keys()) this.seen.set(name, 0);
    const before = this.seen.size;
    for (let row = 0; row < frame.length; row++) {
      const name = category < 0 ? (frame.columns[column]?.name ?? '') : frame.text(category, row) || 'none';
      if (this.seen.size >= BARS_MAX && !this.seen.has(name)) continue;
      const value = frame.number(column, row);
      this.seen.set(name, Number.isNaN(value) ? 0 : value);
    }
    if (this.seen.size !== before || now - this.sortedAt >= RESORT_MS) {
      this.sortedAt = now;
      this.order = [...this.seen.keys()].sort((a, b) => this.seen.get(b)! - this.seen.get(a)! || compare(a, b));
    }
    return this.order.map((name) => ({ name, value: this.seen.get(name)! }));
  }
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
