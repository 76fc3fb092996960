/**
 * A live table: rows by key. Rows come and go through `apply` alone, when a round closes; `rows()` sorts
 * when it is asked, not when rows change.
 */

import { compareDirected, decodeCell } from "./cell.js";
import type { Cell, DeltaMessage, Row, Schema, SnapshotMessage } from "./wire.js";

/** What one round did to a table. */
export interface Change {
  /** True if the rows were replaced: the first snapshot, or one after a reconnect that could not resume. */
  readonly snapshot: boolean;
  /** Rows that came or changed. */
  readonly upsert: readonly Row[];
  /** Rows that went, as they were. */
  readonly deleted: readonly Row[];
}

export class LiveTable {
  /** Columns, key and order. */
  readonly schema: Schema;
  /** How the server keeps it: maintained row by row, or evaluated anew. */
  readonly mode: "incremental" | "reevaluated";
  #rows = new Map<string, Row>();
  #sorted: Row[] | null = null;
  #truncated: boolean;
  #version: number;

  constructor(snapshot: Pick<SnapshotMessage, "schema" | "rows" | "version" | "truncated" | "mode">) {
    this.schema = snapshot.schema;
    this.mode = snapshot.mode;
    this.#version = snapshot.version;
    this.#truncated = snapshot.truncated ?? false;
    for (const row of snapshot.rows) this.#put(row);
  }

  /** The moment it shows. */
  get version(): number {
    return this.#version;
  }

  /** True if the result has more rows than the server keeps live. */
  get truncated(): boolean {
    return this.#truncated;
  }

  /** Rows held. */
  get size(): number {
    return this.#rows.size;
  }

  /** The rows in the query's order. The same array until the next change; do not write to it. */
  rows(): readonly Row[] {
    return (this.#sorted ??= this.#sort());
  }

  /** The row with these key values. */
  get(key: readonly Cell[]): Row | undefined {
    return this.#rows.get(JSON.stringify(key));
  }

  /** The index of the column called `name`, or -1. */
  column(name: string): number {
    return this.schema.columns.findIndex((column) => column.name === name);
  }

  /** Takes a delta in. Idempotent: one that overlaps what is held does no harm. */
  apply(delta: DeltaMessage): Change {
    const deleted: Row[] = [];
    for (const key of delta.delete) {
      const name = JSON.stringify(key);
      const row = this.#rows.get(name);
      if (row && this.#rows.delete(name)) deleted.push(row);
    }
    const upsert = delta.upsert.map((row) => this.#put(row));
    if (upsert.length > 0 || deleted.length > 0) this.#sorted = null;
    this.#truncated = delta.truncated ?? false;
    this.#version = delta.version;
    return { snapshot: false, upsert, deleted };
  }

  #put(wire: Row): Row {
    // The name is made of the values as they travel, so that a key in `delete` finds it.
    const name = JSON.stringify(this.schema.key.map((index) => wire[index] ?? null));
    const row = wire.map((cell, index) => decodeCell(cell, this.schema.columns[index]?.type ?? ""));
    this.#rows.set(name, row);
    return row;
  }

  #sort(): Row[] {
    const { columns, order, key } = this.schema;
    const by = [...order, ...key.map((index) => [index, "asc"] as const)];
    const rows = [...this.#rows.values()];
    return rows.sort((a, b) => {
      for (const [index, direction] of by) {
        const compared = compareDirected(a[index] ?? null, b[index] ?? null, columns[index]?.type ?? "", direction);
        if (compared !== 0) return compared;
      }
      return 0;
    });
  }
}
