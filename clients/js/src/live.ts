/**
 * The connection: one WebSocket for all subscriptions of a page.
 *
 *     connecting ──first progress──► live ◄──any message── stale
 *         │                           │ ──3 heartbeats missed──►│
 *         └────────── socket gone ────┴──► reconnecting ◄───────┘   (backoff with jitter, then connecting's way)
 *
 * Messages of a round wait in `#round`; the `progress` that closes it makes it a whole, which is applied to all
 * tables in one go, now or when `schedule` says (an animation frame). In paced mode the server sends the next
 * round after that, merged with all that happened meanwhile: a page that is busy or hidden is sent less, and
 * nothing piles up. The cursor is the epoch and the version of the last round that was *applied*; a reconnect
 * presents it, and the tables go on from there.
 */

import { Decoder } from "./decode.js";
import { Emitter } from "./emitter.js";
import { pack } from "./msgpack.js";
import { Subscription, type SubscribeOptions, type Wiring } from "./subscription.js";
import {
  type Behind, type ClientMessage, type DeltaMessage, type ErrorMessage, type ProgressMessage, type ServerMessage,
  type SnapshotMessage, SUBPROTOCOL, SUBPROTOCOL_MSGPACK, type Target,
} from "./wire.js";

/** Where the connection stands. `closed` comes from {@link Live.close} alone. */
export type ConnectionState = "connecting" | "live" | "stale" | "reconnecting" | "closed";

/** The part of `WebSocket` that is used. */
export interface SocketLike {
  binaryType?: string;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code?: number; reason?: string }) => void) | null;
  onerror: (() => void) | null;
}

export interface ConnectOptions {
  /** The server's address; `http` and `ws` both do. Default: the server that this file came from. */
  readonly url?: string;
  /** How messages travel (default `json`). MessagePack is shorter, and its long messages are gzip. */
  readonly encoding?: "json" | "msgpack";
  /** Ask for paced delivery (default true): the next round comes after the last one was applied. */
  readonly paced?: boolean;
  /** Runs the application of a round: `requestAnimationFrame` draws at most once a frame. Default: at once. */
  readonly schedule?: (apply: () => void) => void;
  /** How often the server says something at least (default 1000). Three missed make the connection stale. */
  readonly heartbeatMs?: number;
  /** First and longest wait before a reconnect (defaults 250 and 15000). The real wait is random in 50-100 % of it. */
  readonly backoffMs?: readonly [number, number];
  /** Makes the socket (default: `new WebSocket`). */
  readonly socket?: (url: string, protocol: string) => SocketLike;
  /** For tests. */
  readonly random?: () => number;
}

/** The moment that all tables show. */
export interface Progress {
  readonly epoch: string | null;
  readonly version: number;
  readonly position: string;
  /** The server's clock: microseconds since 1970 UTC. */
  readonly now: number;
  /** The subscriptions that lag, or are still seeded. */
  readonly behind: readonly Behind[];
}

/** How the connection is. */
export interface Status {
  readonly state: ConnectionState;
  /** When the state began: `Date.now()`. */
  readonly sinceMs: number;
  /** When the server was last heard: `Date.now()`; 0 before. */
  readonly heardMs: number;
  /** Failed attempts since the connection was last live. */
  readonly attempts: number;
  /** When the next attempt is made: `Date.now()`; null if none is due. */
  readonly retryMs: number | null;
  /** What the last closing said, in words. */
  readonly reason: string | null;
}

export interface LiveEvents {
  /** A round was applied (or a heartbeat arrived): every table shows this moment. */
  progress: Progress;
  /** The connection's state changed, or an attempt was made. */
  status: Status;
  /** An error that is about the connection, not one subscription. */
  error: ErrorMessage;
}

interface Round {
  readonly messages: readonly (SnapshotMessage | DeltaMessage)[];
  readonly progress: ProgressMessage;
}

/** Rounds that may wait for `schedule` before they are applied without it: bounds an unpaced, hidden page. */
const ROUNDS_WAITING_MAX = 64;
/** A hidden page without a schedule of its own takes a round this often: nobody looks, and the server merges. */
const HIDDEN_MS = 1000;
/** Silence after which a stale connection is given up as dead, in heartbeats. */
const HEARTBEATS_DEAD = 10;

/** Opens a connection. It reconnects by itself until it is closed. */
export function connect(options: ConnectOptions = {}): Live {
  return new Live(options);
}

export class Live extends Emitter<LiveEvents> {
  #options: ConnectOptions;
  #url: string;
  #heartbeatMs: number;
  #subscriptions = new Map<number, Subscription>();
  #retries = new Map<number, { attempts: number; timer: ReturnType<typeof setTimeout> | undefined }>();
  #nextId = 1;
  #socket: SocketLike | null = null;
  #open = false;
  #round: (SnapshotMessage | DeltaMessage)[] = [];
  #waiting: Round[] = [];
  #scheduled = false;
  #acked = -1;
  #progress: Progress | null = null;
  #status: Status = { state: "connecting", sinceMs: Date.now(), heardMs: 0, attempts: 0, retryMs: null, reason: null };
  #reconnectTimer: ReturnType<typeof setTimeout> | undefined;
  #hiddenTimer: ReturnType<typeof setTimeout> | undefined;
  #watchTimer: ReturnType<typeof setInterval> | undefined;
  #back = () => this.#returned();
  #decoder: Decoder | null = null;
  #wiring: Wiring;

  /** Use {@link connect}. */
  constructor(options: ConnectOptions) {
    super();
    this.#options = options;
    this.#url = addressOf(options.url);
    this.#heartbeatMs = options.heartbeatMs ?? 1000;
    this.#wiring = {
      close: (subscription) => this.#forget(subscription),
      retry: (subscription) => this.#ask(subscription),
    };
    globalThis.addEventListener?.("online", this.#back);
    globalThis.document?.addEventListener("visibilitychange", this.#back);
    this.#watchTimer = setInterval(() => this.#watch(), this.#heartbeatMs / 2);
    this.#connect();
  }

  /** How the connection is. A new object after each change. */
  get status(): Status {
    return this.#status;
  }

  /** The moment that all tables show; null before the first. */
  get progress(): Progress | null {
    return this.#progress;
  }

  /** What is watched now. */
  get subscriptions(): readonly Subscription[] {
    return [...this.#subscriptions.values()];
  }

  /** Watches a query, a panel or a dashboard's definition. */
  subscribe(target: Target, options: SubscribeOptions = {}): Subscription {
    const subscription = new Subscription(this.#nextId++, target, options, this.#wiring);
    this.#subscriptions.set(subscription.id, subscription);
    if (this.#open) this.#ask(subscription);
    return subscription;
  }

  /** Tries now instead of when the wait is over. Does nothing while connected. */
  reconnect(): void {
    if (this.#status.state === "closed" || this.#socket) return;
    clearTimeout(this.#reconnectTimer);
    this.#connect();
  }

  /** Ends the connection and all subscriptions. */
  close(): void {
    clearTimeout(this.#reconnectTimer);
    clearTimeout(this.#hiddenTimer);
    clearInterval(this.#watchTimer);
    for (const retry of this.#retries.values()) clearTimeout(retry.timer);
    this.#retries.clear();
    globalThis.removeEventListener?.("online", this.#back);
    globalThis.document?.removeEventListener("visibilitychange", this.#back);
    const socket = this.#socket;
    this.#drop();
    socket?.close(1000, "closed by the page");
    this.#set({ state: "closed", retryMs: null });
    for (const subscription of this.subscriptions) subscription.close();
  }

  #connect(): void {
    this.#applyWaiting();
    this.#set({ retryMs: null });
    let socket: SocketLike;
    try {
      const make = this.#options.socket ?? ((url, protocol) => new WebSocket(url, protocol) as SocketLike);
      socket = make(this.#url, this.#options.encoding === "msgpack" ? SUBPROTOCOL_MSGPACK : SUBPROTOCOL);
      socket.binaryType = "arraybuffer";
    } catch (error) {
      this.#lost(String(error));
      return;
    }
    this.#socket = socket;
    const current = (act: () => void) => () => void (this.#socket === socket && act());
    socket.onopen = current(() => this.#opened());
    socket.onerror = null;
    const decoder = new Decoder((message) => this.#heard(message), (error) => this.#garbled(error));
    this.#decoder = decoder;
    socket.onmessage = (event) => decoder.take(event.data);
    socket.onclose = (event) => void (this.#socket === socket && this.#lost(event.reason || `closed (${event.code ?? 1006})`));
    // An attempt that hangs is one that failed.
    this.#set({ heardMs: Date.now() }, true);
  }

  #opened(): void {
    this.#open = true;
    this.#acked = -1;
    if (this.#progress?.epoch) this.#send({ op: "resume", epoch: this.#progress.epoch, version: this.#progress.version });
    if (this.#options.paced ?? true) this.#send({ op: "pace", mode: "ack" });
    for (const subscription of this.#subscriptions.values()) this.#ask(subscription);
  }

  #ask(subscription: Subscription): void {
    clearTimeout(this.#retries.get(subscription.id)?.timer);
    if (!this.#open) return;
    const { id, target, params, fresh } = subscription;
    this.#send({ op: "subscribe", id, ...target, ...(params && { params }), ...(fresh && { snapshot: true }) });
    subscription.asked();
  }

  #forget(subscription: Subscription): void {
    clearTimeout(this.#retries.get(subscription.id)?.timer);
    this.#retries.delete(subscription.id);
    if (!this.#subscriptions.delete(subscription.id)) return;
    if (this.#open && !subscription.error) this.#send({ op: "unsubscribe", id: subscription.id });
  }

  #send(message: ClientMessage): void {
    this.#socket?.send(this.#options.encoding === "msgpack" ? pack(message) : JSON.stringify(message));
  }

  /** What came cannot be read, so the rows are not to be trusted to follow: begin again from the cursor. */
  #garbled(error: unknown): void {
    const socket = this.#socket;
    this.#lost(`unreadable: ${String(error)}`);
    socket?.close(4000, "unreadable");
  }

  #heard(message: ServerMessage): void {
    this.#set({ heardMs: Date.now() }, true);
    if (this.#status.state === "stale") this.#set({ state: "live" });
    switch (message.op) {
      case "snapshot":
      case "delta":
        this.#round.push(message);
        break;
      case "progress":
        this.#waiting.push({ messages: this.#round, progress: message });
        this.#round = [];
        this.#schedule();
        break;
      case "error":
        this.#failed(message);
        break;
    }
  }

  #schedule(): void {
    const schedule = this.#options.schedule;
    const last = this.#waiting.at(-1);
    // A heartbeat changes nothing: no need to wait for a frame. It also shows that the connection is live.
    const idle = this.#waiting.length === 1 && last?.messages.length === 0;
    if (!schedule && !idle && (this.#options.paced ?? true) && globalThis.document?.hidden) {
      this.#hiddenTimer ??= setTimeout(() => this.#applyHidden(), HIDDEN_MS);
    } else if (!schedule || idle || this.#waiting.length > ROUNDS_WAITING_MAX) {
      this.#applyWaiting();
    } else if (!this.#scheduled) {
      this.#scheduled = true;
      schedule(() => {
        this.#scheduled = false;
        this.#applyWaiting();
      });
    }
  }

  /** Applies the rounds that are whole: first every table, then every listener. */
  #applyWaiting(): void {
    const rounds = this.#waiting;
    const last = rounds.at(-1)?.progress;
    if (!last) return;
    this.#waiting = [];
    let epoch = this.#progress?.epoch ?? null;
    const tell: (() => void)[] = [];
    for (const message of rounds.flatMap((round) => round.messages)) {
      if (message.op === "snapshot") epoch = message.epoch;
      const subscription = this.#subscriptions.get(message.id);
      const told = subscription?.take(message);
      if (told) tell.push(told);
      if (subscription) this.#retries.delete(message.id);
    }
    for (const subscription of this.#subscriptions.values()) subscription.passed();
    const behind = last.behind;
    this.#progress = { epoch, version: last.version, position: last.position, now: last.now, behind };
    for (const subscription of this.#subscriptions.values()) {
      subscription.setBehind(behind.find((entry) => entry.id === subscription.id) ?? null);
    }
    for (const told of tell) told();
    if (this.#open && this.#status.state !== "live") {
      this.#set({ state: "live", attempts: 0, reason: null });
    }
    this.emit("progress", this.#progress);
    if (this.#open && (this.#options.paced ?? true) && last.version > this.#acked) {
      this.#acked = last.version;
      this.#send({ op: "ack", version: last.version });
    }
  }

  #failed(error: ErrorMessage): void {
    const subscription = error.id === undefined ? undefined : this.#subscriptions.get(error.id);
    if (!subscription) {
      if (error.id === undefined) this.emit("error", error);
      return;
    }
    this.#round = this.#round.filter((message) => message.id !== error.id);
    subscription.fail(error);
    if (!error.retry) return;
    const attempts = (this.#retries.get(subscription.id)?.attempts ?? 0) + 1;
    const wait = Math.max(this.#wait(attempts), (error.retry_after ?? 0) * 1000);
    const timer = setTimeout(() => subscription.retry(), wait);
    this.#retries.set(subscription.id, { attempts, timer });
  }

  /** Forgets the socket and the round that it left open. What was whole stays and is applied. */
  #drop(): void {
    const socket = this.#socket;
    this.#socket = null;
    this.#open = false;
    this.#round = [];
    this.#decoder?.end();
    if (socket) socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
  }

  #lost(reason: string): void {
    this.#drop();
    const attempts = this.#status.attempts + 1;
    const wait = this.#wait(attempts);
    const state = this.#progress ? "reconnecting" : "connecting";
    this.#set({ state, attempts, reason, retryMs: Date.now() + wait });
    clearTimeout(this.#reconnectTimer);
    this.#reconnectTimer = setTimeout(() => this.#retry(), wait);
  }

  /** Tries, unless nobody would see it or it cannot succeed: `#returned` does then. */
  #retry(): void {
    if (isAway()) this.#set({ retryMs: null });
    else this.#connect();
  }

  /** The network, or the page's viewer, came back (or went). */
  #returned(): void {
    if (isAway()) return;
    this.reconnect();
    if (this.#hiddenTimer !== undefined) this.#applyHidden();
  }

  #applyHidden(): void {
    clearTimeout(this.#hiddenTimer);
    this.#hiddenTimer = undefined;
    this.#applyWaiting();
  }

  /** Doubles with each attempt; random, so that the viewers of a restarted server do not all come at once. */
  #wait(attempts: number): number {
    const [first, longest] = this.#options.backoffMs ?? [250, 15_000];
    const wait = Math.min(longest, first * 2 ** (attempts - 1));
    return wait * (0.5 + (this.#options.random ?? Math.random)() / 2);
  }

  #watch(): void {
    if (!this.#socket) return;
    const silentMs = Date.now() - this.#status.heardMs;
    if (this.#status.state === "live" && silentMs > 3 * this.#heartbeatMs) this.#set({ state: "stale" });
    if (silentMs > HEARTBEATS_DEAD * this.#heartbeatMs) {
      const socket = this.#socket;
      this.#lost(`nothing heard for ${Math.round(silentMs / 1000)} s`);
      socket.close(4000, "nothing heard");
    }
  }

  #set(change: Partial<Status>, silent = false): void {
    const sinceMs = change.state && change.state !== this.#status.state ? Date.now() : this.#status.sinceMs;
    this.#status = { ...this.#status, ...change, sinceMs };
    if (!silent) this.emit("status", this.#status);
  }
}

/** True if the platform says that there is no network, or nobody looks. */
function isAway(): boolean {
  return globalThis.navigator?.onLine === false || globalThis.document?.hidden === true;
}

function addressOf(given: string | undefined): string {
  // The server that this file came from, unless it was bundled into something else.
  const own = import.meta.url.startsWith("http") ? new URL(import.meta.url).origin : "/";
  const url = new URL(given ?? own, globalThis.location?.href);
  if (url.pathname === "/" || url.pathname === "") url.pathname = "/api/v1/live";
  url.protocol = url.protocol === "https:" || url.protocol === "wss:" ? "wss:" : "ws:";
  url.hash = "";
  return url.href;
}
