/** A socket whose messages the test delivers by hand. */

import type { SocketLike } from "../src/index.js";
import { unpack } from "../src/msgpack.js";
import type { ClientMessage, ServerMessage } from "../src/wire.js";

export class FakeSocket implements SocketLike {
  static all: FakeSocket[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code?: number; reason?: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  /** What the client sent. */
  sent: ClientMessage[] = [];
  closed = false;

  constructor() {
    FakeSocket.all.push(this);
  }

  static last(): FakeSocket {
    return FakeSocket.all.at(-1)!;
  }

  send(data: string | Uint8Array): void {
    this.sent.push((typeof data === "string" ? JSON.parse(data) : unpack(data)) as ClientMessage);
  }

  close(): void {
    this.closed = true;
  }

  open(): void {
    this.onopen?.();
  }

  say(...messages: ServerMessage[]): void {
    for (const message of messages) this.onmessage?.({ data: JSON.stringify(message) });
  }

  lose(reason = ""): void {
    this.onclose?.({ code: 1006, reason });
  }

  /** What was sent since the last call. */
  heard(): ClientMessage[] {
    return this.sent.splice(0);
  }
}

const schema = {
  columns: [{ name: "k", type: "VARCHAR" }, { name: "v", type: "LONG" }],
  key: [0],
  order: [[1, "desc"] as const],
};

export function snapshot(id: number, version: number, rows: [string, number][], epoch = "e1"): ServerMessage {
  return { op: "snapshot", id, epoch, version, mode: "incremental", schema, rows };
}

export function delta(id: number, version: number, upsert: [string, number][], gone: string[] = []): ServerMessage {
  return { op: "delta", id, version, upsert, delete: gone.map((key) => [key]) };
}

export function progress(version: number, behind: { id: number; state?: "seeding"; percent?: number; version?: number }[] = []): ServerMessage {
  return { op: "progress", version, position: String(version), now: version * 1_000_000, behind };
}
