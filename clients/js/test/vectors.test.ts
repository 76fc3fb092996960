/** The vectors in `testdata/vectors/live`, which the server's tests read too. */

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

import { type Cell, type ClientMessage, compareDirected, connect, decodeCell, Decoder, type Direction, pack, type Row, type ServerMessage } from "./inside.js";
import { FakeSocket } from "./fake.js";

function vectors<T>(name: string): T[] {
  return JSON.parse(readFileSync(new URL(`../../../testdata/vectors/live/${name}`, import.meta.url), "utf8")) as T[];
}

describe("cells", () => {
  type Vector = { name: string; type: string; wire: Cell; client: Cell | { infinity: number } };
  test.each(vectors<Vector>("cells.json"))("$name", ({ type, wire, client }) => {
    const expected = typeof client === "object" && client ? client.infinity * Infinity : client;
    expect(decodeCell(wire, type)).toBe(expected);
  });
});

describe("order", () => {
  type Vector = { name: string; type: string; direction: Direction; sorted: Cell[] };
  test.each(vectors<Vector>("order.json"))("$name", ({ type, direction, sorted }) => {
    const cells = sorted.map((cell) => decodeCell(cell, type));
    const shuffled = [...cells].reverse();
    expect(shuffled.sort((a, b) => compareDirected(a, b, type, direction))).toEqual(cells);
  });
});

describe("what a client sends", () => {
  type Vector = { name: string; message?: ClientMessage };
  const subscribes = vectors<Vector>("client.json").flatMap(({ name, message }) =>
    message?.op === "subscribe" && !message.snapshot ? [{ name, message }] : [],
  );
  test.each(subscribes)("$name", ({ message }) => {
    const { id: _, op: __, params, snapshot: ___, ...target } = message;
    const live = connect({ url: "http://server/", socket: () => new FakeSocket(), paced: false });
    const socket = FakeSocket.last();
    live.subscribe(target as { query: string }, params ? { params } : {});
    socket.open();
    // A first subscription has nothing to resume from, and says so.
    expect(socket.sent).toEqual([{ ...message, id: 1, snapshot: true }]);
    live.close();
  });
});

describe("what a server sends", () => {
  test.each(vectors<{ name: string; message: ServerMessage }>("server.json"))("$name", ({ message }) => {
    const live = connect({ url: "http://server/", socket: () => new FakeSocket() });
    const socket = FakeSocket.last();
    const seen: string[] = [];
    const subscriptions = [1, 2, 3, 4].map(() => live.subscribe({ query: "q" }));
    for (const subscription of subscriptions) {
      subscription.on("change", (change) => seen.push(change.snapshot ? "snapshot" : "delta"));
      subscription.on("error", () => seen.push("error"));
    }
    live.on("error", () => seen.push("error"));
    live.on("progress", () => seen.push("progress"));
    socket.open();
    if (message.op === "delta") {
      const columns = [{ name: "k", type: "LONG" }];
      socket.say({ op: "snapshot", id: message.id, epoch: "e", version: 1, mode: "incremental", schema: { columns, key: [0], order: [] }, rows: [] });
      socket.say({ op: "progress", version: 1, position: "1", now: 1, behind: [] });
    }
    socket.say(message);
    if (message.op === "snapshot" || message.op === "delta") {
      socket.say({ op: "progress", version: message.version, position: "1", now: 1, behind: [] });
    }
    expect(seen).toContain(message.op);
    live.close();
  });
});

describe("sessions", () => {
  type Step = { message: ServerMessage; tables?: Record<string, Row[] | null> };
  test.each(vectors<{ name: string; steps: Step[] }>("sessions.json"))("$name", ({ steps }) => {
    const live = connect({ url: "http://server/", socket: () => new FakeSocket() });
    const socket = FakeSocket.last();
    const ids = new Set(steps.flatMap((step) => Object.keys(step.tables ?? {})));
    const subscriptions = [...ids].sort().map((id) => live.subscribe({ query: id }));
    socket.open();
    for (const { message, tables } of steps) {
      socket.say(message);
      for (const [id, rows] of Object.entries(tables ?? {})) {
        const table = subscriptions.find((subscription) => subscription.id === Number(id))?.table;
        expect(table?.rows() ?? null).toEqual(rows);
      }
    }
    live.close();
  });
});

describe("MessagePack", () => {
  type Vector = { name: string; from: "client" | "server"; message: ServerMessage | ClientMessage; hex: string };
  test.each(vectors<Vector>("msgpack.json"))("$name", async ({ from, message, hex }) => {
    if (from === "client") expect(Buffer.from(pack(message)).toString("hex")).toBe(hex);
    const bytes = Uint8Array.from(Buffer.from(hex, "hex"));
    const read = await new Promise((told, failed) => new Decoder(told, failed).take(bytes.buffer));
    expect(read).toEqual(message);
  });

  test("messages keep their order though one is unpacked first", async () => {
    const [long, short] = ["more than 1,024 bytes: gzip", "progress"].map((name) => {
      const vector = vectors<Vector>("msgpack.json").find((vector) => vector.name === name)!;
      return Uint8Array.from(Buffer.from(vector.hex, "hex")).buffer;
    });
    const seen: string[] = [];
    await new Promise<void>((done) => {
      const decoder = new Decoder((message) => void (seen.push(message.op) === 3 && done()), () => done());
      for (const bytes of [short, long, short]) decoder.take(bytes);
    });
    expect(seen).toEqual(["progress", "delta", "progress"]);
  });
});
