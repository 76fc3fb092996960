// The page's side of the live feed: who watches what, and when it is drawn.
//
//     socket ─► client (rounds) ─► applied in an animation frame ─► dirty tables become frames ─► React, once
//
// Panels ask for the same thing by value; one subscription serves them all and outlives its last reader by a moment,
// so that going back and forth costs nothing. A hidden tab applies rounds (the connection stays paced and alive)
// but makes no frames and tells nobody; when it is shown again, one flush brings everything up to date.

import { connect, type Live, type Subscription } from '../../../clients/js/src/index';
import { Frame } from '../frames/frame';
import { createStore, type Store } from '../ui/store';
import { noteMoment } from './debug';
import { type Connection, type LiveError, type LiveRequest, type LiveState, LOADING } from './types';

/** How long a subscription without readers is kept. */
const LINGER_MS = 3000;
/** A frame that does not come by then is not waited for: the window may be covered, or the tab hidden. */
const FRAME_WAIT_MS = 500;

interface Entry {
  readonly subscription: Subscription;
  readonly listeners: Set<() => void>;
  state: LiveState;
  rows: unknown;
  readers: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** The least time between two rounds. Ten a second look continuous with values that glide, and the page asks for no
 * more: the server merges what happens meanwhile, for a tenth of the work on both sides. The first after a pause is at once. */
const ROUND_MIN_MS = 100;

/** Runs `act` in the next animation frame, or soon if there will be none. */
export function inFrame(act: () => void): void {
  let done = false;
  const once = (): void => {
    if (done) return;
    done = true;
    clearTimeout(timer);
    cancelAnimationFrame(frame);
    document.removeEventListener('visibilitychange', once);
    act();
  };
  const timer = setTimeout(once, document.hidden ? 0 : FRAME_WAIT_MS);
  const frame = requestAnimationFrame(once);
  document.addEventListener('visibilitychange', once);
}

export class Hub {
  readonly connection: Store<Connection>;
  private readonly live: Live;
  private readonly entries = new Map<string, Entry>();
  private readonly dirty = new Set<Entry>();
  private moved = false;
  private pacedAt = -Infinity;

  constructor() {
    this.connection = createStore<Connection>({
      state: 'connecting', heardMs: 0, retryMs: null, reason: null, now: NaN, version: 0, position: '', skewMs: Infinity,
    });
    this.live = connect({ schedule: (apply) => this.pace(apply) });
    this.live.on('progress', () => {
      this.moved = true;
      this.flush();
    });
    this.live.on('status', ({ state, retryMs, reason }) => this.connection.set({ state, retryMs, reason }));
    document.addEventListener('visibilitychange', () => this.flush());
  }

  /** When the server was last heard: `Date.now()`. */
  get heardMs(): number {
    return this.live.status.heardMs;
  }

  /** Tries to reconnect now. */
  retry(): void {
    this.live.reconnect();
  }

  /** Keeps `request` live until the returned function is called. */
  watch(key: string, request: LiveRequest, listener: () => void): () => void {
    const entry = this.entry(key, request);
    clearTimeout(entry.timer);
    entry.readers++;
    entry.listeners.add(listener);
    return () => {
      entry.listeners.delete(listener);
      if (--entry.readers > 0) return;
      entry.timer = setTimeout(() => {
        entry.subscription.close();
        this.entries.delete(key);
        this.dirty.delete(entry);
      }, LINGER_MS);
    };
  }

  /** The state drawn for a request; `LOADING` if nobody watches it. */
  state(key: string): LiveState {
    return this.entries.get(key)?.state ?? LOADING;
  }

  /** Asks again for all that failed. */
  retryFailed(): void {
    for (const { subscription } of this.entries.values()) subscription.retry();
  }

  /** Distinct things that are watched. */
  get watched(): number {
    return this.entries.size;
  }

  /** Applies a round in the first animation frame that is not too soon after the last one. */
  private pace(apply: () => void): void {
    const run = (): void => {
      this.pacedAt = performance.now();
      apply();
    };
    const wait = this.pacedAt + ROUND_MIN_MS - performance.now();
    if (wait > 0) setTimeout(() => inFrame(run), wait);
    else inFrame(run);
  }

  private entry(key: string, request: LiveRequest): Entry {
    const known = this.entries.get(key);
    if (known) return known;
    const subscription = this.live.subscribe(request.target, request.params ? { params: request.params } : {});
    const entry: Entry = { subscription, listeners: new Set(), state: LOADING, rows: null, readers: 0, timer: undefined };
    this.entries.set(key, entry);
    subscription.on('change', () => void this.dirty.add(entry));
    subscription.on('behind', () => void this.dirty.add(entry));
    subscription.on('error', () => {
      this.dirty.add(entry);
      inFrame(() => this.flush());
    });
    return entry;
  }

  /** Draws what changed since the last flush, unless nobody can see it. */
  private flush(): void {
    if (document.hidden) return;
    const entries = [...this.dirty];
    this.dirty.clear();
    for (const entry of entries) entry.state = this.stateOf(entry);
    const { progress } = this.live;
    if (this.moved && progress) {
      this.moved = false;
      const { now, version, position } = progress;
      const old = this.connection.get();
      const skew = Date.now() - now / 1000;
      // The tick is whole seconds, so the smallest difference seen is nearest to the truth; a clock that is set
      // back by more than the tick's second starts anew.
      const skewMs = skew < old.skewMs || skew > old.skewMs + 3000 ? skew : old.skewMs;
      this.connection.set({ now, version, position, skewMs, heardMs: this.heardMs });
    }
    for (const entry of entries) for (const listener of [...entry.listeners]) listener();
    if (progress) noteMoment(progress.now, progress.version, progress.behind);
  }

  private stateOf(entry: Entry): LiveState {
    const { subscription, state: old } = entry;
    const { table, error, behind } = subscription;
    let frame = old.frame;
    if (table) {
      const rows = table.rows();
      if (rows !== entry.rows) {
        entry.rows = rows;
        frame = Frame.of(table.schema.columns, rows);
      }
    }
    const seeding = behind?.state === 'seeding';
    return {
      phase: error ? 'error' : seeding && !frame ? 'seeding' : frame ? 'live' : 'loading',
      frame,
      percent: behind?.percent ?? 0,
      error: error ? readable(error) : null,
      truncated: table?.truncated ?? false,
      mode: table?.mode ?? null,
      behind: behind !== null && !seeding,
      behindAt: behind?.version ?? null,
      changing: false,
    };
  }
}

function readable(error: { code: string; message: string; hint?: string; line?: number; column?: number }): LiveError {
  const { code, message, hint, line, column } = error;
  return { code, message, hint, line, column };
}
