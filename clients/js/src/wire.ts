/**
 * The messages of the live protocol (`nowcast.v1.json`, and `nowcast.v1.msgpack`), as they travel. `docs/live-protocol.md` tells what
 * each means; `testdata/vectors/live/` holds examples that this side and the server's both read.
 */

/** The name by which client and server agree on the protocol in JSON. */
export const SUBPROTOCOL = "nowcast.v1.json";
/** The same messages in MessagePack; long ones are gzip. */
export const SUBPROTOCOL_MSGPACK = "nowcast.v1.msgpack";

/**
 * One value. Integers beyond 2^53, decimals and nanosecond timestamps are strings of digits; timestamps are
 * integers in microseconds since 1970 UTC; NaN is null; infinite doubles are `"Infinity"` and `"-Infinity"`.
 */
export type Cell = null | boolean | number | string;
/** Values in the order of the schema's columns, hidden ones included. */
export type Row = readonly Cell[];

/** A column, by QuestDB's type name: `LONG`, `DOUBLE`, `SYMBOL`, `VARCHAR`, `TIMESTAMP`, … */
export interface Column {
  readonly name: string;
  readonly type: string;
  /** Sent because the order or the key needs it; not for show. */
  readonly hidden?: boolean;
}

/** How a column sorts. NULL is greater than every value: last in `asc`, first in `desc`. */
export type Direction = "asc" | "desc";

/** What a live table looks like. */
export interface Schema {
  readonly columns: readonly Column[];
  /** Indices of the columns that name a row. */
  readonly key: readonly number[];
  /** Column index and direction, most significant first; ties go by key, ascending. Text sorts by code point. */
  readonly order: readonly (readonly [number, Direction])[];
  /** The query's own limit. The server sends no more rows. */
  readonly limit?: number;
}

/** A parameter: a scalar, a list (a multi-select), a time relative to now, or null for "all". */
export type ParamValue = null | boolean | number | string | readonly (boolean | number | string)[] | { readonly ago_s: number };
/** Parameters by name, without the `$`. `from` and `to` bound the time range. */
export type Params = Readonly<Record<string, ParamValue>>;

/** What to watch: exactly one of a SELECT, a dashboard's panel (`thelook/sales`), or a dashboard's definition. */
export type Target = { readonly query: string } | { readonly panel: string } | { readonly dashboard: string };

/** What a client sends. */
export type ClientMessage =
  | ({ op: "subscribe"; id: number; params?: Params; snapshot?: boolean } & Target) // snapshot: whatever was resumed
  | { op: "unsubscribe"; id: number }
  | { op: "resume"; epoch: string; version: number }
  | { op: "pace"; mode: "ack" | "free" }
  | { op: "ack"; version: number };

/** All rows of a live table. Replaces what the client held under this id. */
export interface SnapshotMessage {
  op: "snapshot";
  id: number;
  epoch: string;
  version: number;
  /** How the server keeps it: from changes, every moment, or by running the query again. */
  mode: "incremental" | "reevaluated";
  /** True if the result has more rows than the server keeps for a live query. */
  truncated?: boolean;
  /** Why a resume was answered with a snapshot: the cursor could not be used. */
  reason?: "epoch" | "horizon" | "schema";
  schema: Schema;
  rows: Row[];
}

/** What changed since the cursor: whole rows that came or changed, and keys of rows that went. Idempotent. */
export interface DeltaMessage {
  op: "delta";
  id: number;
  version: number;
  truncated?: boolean;
  upsert: Row[];
  /** Key values in the order of `schema.key`. Some may never have been seen. */
  delete: Row[];
}

/** A subscription that lags behind the moment, or is being filled for the first time. */
export interface Behind {
  id: number;
  version?: number;
  state?: "seeding";
  percent?: number;
}

/** Closes a round: everything sent before is of this one moment. Also the heartbeat. */
export interface ProgressMessage {
  op: "progress";
  version: number;
  /** Opaque; compared within an epoch only. */
  position: string;
  /** The server's clock as the queries see it: microseconds since 1970 UTC. */
  now: number;
  behind: Behind[];
}

/** Something failed. With an id it ends that subscription; without, it is about the connection. */
export interface ErrorMessage {
  op: "error";
  id?: number;
  code: string;
  message: string;
  hint?: string;
  line?: number;
  column?: number;
  /** Seconds after which the same request may succeed, if that is known. */
  retry_after?: number;
  /** True if the same request may succeed later. */
  retry: boolean;
}

/** What the server sends. */
export type ServerMessage = SnapshotMessage | DeltaMessage | ProgressMessage | ErrorMessage;
