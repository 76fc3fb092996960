/** One live query as its user holds it. */

import { Emitter } from "./emitter.js";
import { type Change, LiveTable } from "./table.js";
import type { Behind, DeltaMessage, ErrorMessage, Params, SnapshotMessage, Target } from "./wire.js";

/** Waiting for rows, showing rows, refused (see `error`), or closed by its user. */
export type SubscriptionState = "waiting" | "live" | "failed" | "closed";

export interface SubscribeOptions {
  readonly params?: Params;
}

export interface SubscriptionEvents {
  /** Rows changed. Heard once a round at most, after every table of the round was changed. */
  change: Change;
  /** The request was refused or its query ended. The last rows stay. */
  error: ErrorMessage;
  /** It lags (or no longer lags), or the seeding got on. */
  behind: Behind | null;
}

/** What the connection needs of a subscription; not for its user. */
export interface Wiring {
  close(subscription: Subscription): void;
  retry(subscription: Subscription): void;
}

export class Subscription extends Emitter<SubscriptionEvents> {
  readonly id: number;
  readonly target: Target;
  readonly params: Params | undefined;
  #wiring: Wiring;
  #table: LiveTable | null = null;
  #error: ErrorMessage | null = null;
  #behind: Behind | null = null;
  #closed = false;
  /** True until the server answered on this connection. */
  #unanswered = true;
  /** True if rounds were applied that this one had no part in: its rows are older than the page's cursor. */
  #stale = false;

  /** Made by {@link Live.subscribe}. */
  constructor(id: number, target: Target, options: SubscribeOptions, wiring: Wiring) {
    super();
    this.id = id;
    this.target = target;
    this.params = options.params;
    this.#wiring = wiring;
  }

  get state(): SubscriptionState {
    if (this.#closed) return "closed";
    if (this.#error) return "failed";
    return this.#table ? "live" : "waiting";
  }

  /** The rows; null until the first snapshot. A new object after each snapshot. */
  get table(): LiveTable | null {
    return this.#table;
  }

  /** Why it failed. */
  get error(): ErrorMessage | null {
    return this.#error;
  }

  /** Set while its rows are older than the page's moment, or while the server still seeds it (`percent`). */
  get behind(): Behind | null {
    return this.#behind;
  }

  /** Asks again after a failure. */
  retry(): void {
    if (this.state === "failed") this.#wiring.retry(this);
  }

  /** Ends it. The last rows stay readable. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#wiring.close(this);
  }

  /** @internal Takes one message in; the returned function tells the listeners, once the round is complete. */
  take(message: SnapshotMessage | DeltaMessage): (() => void) | null {
    let change: Change;
    if (message.op === "snapshot") {
      const before = this.#table;
      this.#table = new LiveTable(message);
      change = { snapshot: true, upsert: this.#table.rows(), deleted: before?.rows() ?? [] };
    } else if (this.#table) {
      change = this.#table.apply(message);
    } else {
      return null;
    }
    this.#error = null;
    this.#unanswered = this.#stale = false;
    return () => this.#closed || this.emit("change", change);
  }

  /** @internal */
  fail(error: ErrorMessage): void {
    this.#error = error;
    if (!this.#closed) this.emit("error", error);
  }

  /** @internal True if the page's cursor says nothing about its rows: a resume needs a snapshot. */
  get fresh(): boolean {
    return this.#table === null || this.#error !== null || this.#stale;
  }

  /** @internal It was asked for on a new connection, or again. */
  asked(): void {
    this.#stale = this.fresh;
    this.#unanswered = true;
    this.#error = null;
  }

  /** @internal A round was applied. */
  passed(): void {
    if (this.#unanswered) this.#stale = true;
  }

  /** @internal */
  setBehind(behind: Behind | null): void {
    if (JSON.stringify(behind) === JSON.stringify(this.#behind)) return;
    this.#behind = behind;
    if (!this.#closed) this.emit("behind", behind);
  }
}
