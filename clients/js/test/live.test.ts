/** The connection's states, its pace and its cursor. */

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { connect, type ConnectOptions, type Live } from "../src/index.js";
import { delta, FakeSocket, progress, snapshot } from "./fake.js";

let live: Live;

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.all = [];
});

afterEach(() => {
  live.close();
  vi.useRealTimers();
});

function start(options: ConnectOptions = {}): { live: Live; socket: FakeSocket } {
  live = connect({ url: "http://server/", socket: () => new FakeSocket(), random: () => 1, ...options });
  return { live, socket: FakeSocket.last() };
}

test("the address is the server's, over WebSocket", () => {
  const addresses: string[] = [];
  const socket = (url: string, protocol: string) => {
    addresses.push(`${url} ${protocol}`);
    return new FakeSocket();
  };
  for (const url of ["http://a:9000", "https://b/", "ws://c/other/path"]) {
    live = connect({ url, socket });
    live.close();
  }
  expect(addresses).toEqual([
    "ws://a:9000/api/v1/live nowcast.v1.json",
    "wss://b/api/v1/live nowcast.v1.json",
    "ws://c/other/path nowcast.v1.json",
  ]);
});

describe("rounds", () => {
  test("are applied at their progress, to all tables before any listener hears", () => {
    const { live, socket } = start();
    const [a, b] = [live.subscribe({ query: "a" }), live.subscribe({ panel: "d/b" })];
    const heard: string[] = [];
    a.on("change", (change) => heard.push(`a ${change.snapshot} ${b.table?.rows()[0]}`));
    b.on("change", (change) => heard.push(`b ${change.snapshot} ${a.table?.rows()[0]}`));
    live.on("progress", (at) => heard.push(`progress ${at.version}`));
    socket.open();
    socket.say(snapshot(1, 1, [["x", 1]]), snapshot(2, 1, [["y", 1]]));
    expect([a.state, a.table, heard.length]).toEqual(["waiting", null, 0]);
    socket.say(progress(1));
    socket.say(delta(1, 2, [["x", 2]]), delta(2, 2, [["y", 2]], ["gone"]));
    expect(a.table?.get(["x"])).toEqual(["x", 1]);
    socket.say(progress(2));
    expect(heard).toEqual([
      "a true y,1", "b true x,1", "progress 1",
      "a false y,2", "b false x,2", "progress 2",
    ]);
  });

  test("wait for the page's schedule and are acknowledged when they were applied", () => {
    let frame: (() => void) | undefined;
    const { live, socket } = start({ schedule: (apply) => (frame = apply) });
    const a = live.subscribe({ query: "a" });
    socket.open();
    expect(socket.heard().map((message) => message.op)).toEqual(["pace", "subscribe"]);
    socket.say(snapshot(1, 1, [["x", 1]]), progress(1));
    expect([a.table, socket.heard()]).toEqual([null, []]);
    frame?.();
    expect(a.table?.version).toBe(1);
    expect(socket.heard()).toEqual([{ op: "ack", version: 1 }]);
    // A heartbeat at the same version needs no frame and no second acknowledgement.
    socket.say(progress(1));
    expect(socket.heard()).toEqual([]);
  });

  test("of an unpaced, hidden page do not pile up without end", () => {
    const { live, socket } = start({ paced: false, schedule: () => {} });
    const a = live.subscribe({ query: "a" });
    socket.open();
    socket.say(snapshot(1, 1, [["x", 1]]), progress(1));
    for (let version = 2; version < 100; version++) socket.say(delta(1, version, [["x", version]]), progress(version));
    expect(a.table?.version).toBeGreaterThan(50);
  });

  test("of something unsubscribed are ignored", () => {
    const { live, socket } = start();
    const a = live.subscribe({ query: "a" });
    socket.open();
    a.close();
    expect(socket.heard().at(-1)).toEqual({ op: "unsubscribe", id: 1 });
    socket.say(snapshot(1, 1, [["x", 1]]), progress(1));
    expect([a.table, a.state]).toEqual([null, "closed"]);
  });
});

describe("states", () => {
  test("connecting, live, stale after three missed heartbeats, live again", () => {
    const { live, socket } = start();
    const states: string[] = [];
    live.on("status", (status) => states.at(-1) === status.state || states.push(status.state));
    expect(live.status.state).toBe("connecting");
    socket.open();
    socket.say(progress(1));
    expect(live.status.state).toBe("live");
    vi.advanceTimersByTime(2_900);
    expect(live.status.state).toBe("live");
    vi.advanceTimersByTime(700);
    expect(live.status.state).toBe("stale");
    socket.say(progress(2));
    expect(states).toEqual(["live", "stale", "live"]);
  });

  test("a connection that stays silent is given up", () => {
    const { live, socket } = start();
    socket.open();
    socket.say(progress(1));
    vi.advanceTimersByTime(10_500);
    expect([live.status.state, socket.closed]).toEqual(["reconnecting", true]);
    vi.advanceTimersByTime(300);
    expect(FakeSocket.all.length).toBe(2);
  });

  test("reconnects wait longer each time, at random, and no longer than the longest", () => {
    let random = 1;
    const { live, socket } = start({ random: () => random, backoffMs: [100, 1_000] });
    socket.open();
    socket.say(progress(1));
    const waits: number[] = [];
    for (let attempt = 0; attempt < 6; attempt++) {
      FakeSocket.last().lose("the server goes down");
      waits.push(live.status.retryMs! - Date.now());
      expect(live.status.reason).toBe("the server goes down");
      vi.advanceTimersByTime(waits.at(-1)!);
    }
    expect(waits).toEqual([100, 200, 400, 800, 1_000, 1_000]);
    random = 0;
    FakeSocket.last().lose();
    expect(live.status.retryMs! - Date.now()).toBe(500);
    // The first progress ends it.
    live.reconnect();
    FakeSocket.last().open();
    FakeSocket.last().say(progress(2));
    expect([live.status.state, live.status.attempts, live.status.retryMs]).toEqual(["live", 0, null]);
  });

  test("closed is the end", () => {
    const { live, socket } = start();
    const a = live.subscribe({ query: "a" });
    live.close();
    socket.lose();
    vi.advanceTimersByTime(60_000);
    expect([live.status.state, a.state, FakeSocket.all.length]).toEqual(["closed", "closed", 1]);
  });
});

describe("a reconnect", () => {
  test("presents the cursor and goes on without a snapshot", () => {
    const { live, socket } = start();
    const a = live.subscribe({ query: "a" }, { params: { from: { ago_s: 300 } } });
    socket.open();
    socket.say(snapshot(1, 7, [["x", 1], ["y", 1]]), progress(7));
    // A round that was not closed does not count.
    socket.say(delta(1, 8, [["x", 8]]));
    socket.lose();
    const fresh = live.subscribe({ query: "b" });
    vi.advanceTimersByTime(1_000);
    const again = FakeSocket.last();
    again.open();
    expect(again.heard()).toEqual([
      { op: "resume", epoch: "e1", version: 7 },
      { op: "pace", mode: "ack" },
      { op: "subscribe", id: 1, query: "a", params: { from: { ago_s: 300 } } },
      { op: "subscribe", id: 2, query: "b", snapshot: true },
    ]);
    expect(a.table?.rows()).toEqual([["x", 1], ["y", 1]]);
    const changes: boolean[] = [];
    a.on("change", (change) => changes.push(change.snapshot));
    again.say(delta(1, 9, [["x", 9]], ["y"]), snapshot(2, 9, []), progress(9));
    expect([a.table?.rows(), changes, fresh.state]).toEqual([[["x", 9]], [false], "live"]);
  });

  test("asks for a snapshot where the cursor says nothing about the rows", () => {
    const { live, socket } = start();
    live.subscribe({ query: "a" });
    live.subscribe({ query: "b" });
    socket.open();
    socket.say(snapshot(1, 1, [["x", 1]]), snapshot(2, 1, [["y", 1]]), progress(1));
    socket.lose();
    vi.advanceTimersByTime(1_000);
    // On the second connection only one is answered before it is lost.
    FakeSocket.last().open();
    FakeSocket.last().say(delta(1, 5, [["x", 5]]), progress(5, [{ id: 2, state: "seeding", percent: 10 }]));
    expect(live.subscriptions[1]?.behind?.percent).toBe(10);
    FakeSocket.last().lose();
    vi.advanceTimersByTime(1_000);
    const third = FakeSocket.last();
    third.open();
    expect(third.heard().filter((message) => message.op === "subscribe")).toEqual([
      { op: "subscribe", id: 1, query: "a" },
      { op: "subscribe", id: 2, query: "b", snapshot: true },
    ]);
  });

  test("to another run of the server replaces the rows", () => {
    const { live, socket } = start();
    const a = live.subscribe({ query: "a" });
    socket.open();
    socket.say(snapshot(1, 90, [["x", 1]]), progress(90));
    socket.lose();
    vi.advanceTimersByTime(1_000);
    FakeSocket.last().open();
    FakeSocket.last().say(snapshot(1, 2, [["z", 1]], "e2"), progress(2));
    expect([a.table?.rows(), live.progress?.epoch, live.progress?.version]).toEqual([[["z", 1]], "e2", 2]);
    expect(FakeSocket.last().heard().at(-1)).toEqual({ op: "ack", version: 2 });
  });
});

describe("errors", () => {
  test("end one subscription; those that may pass are asked for again", () => {
    const { live, socket } = start();
    const [a, b] = [live.subscribe({ query: "a" }), live.subscribe({ query: "b" })];
    const errors: string[] = [];
    a.on("error", (error) => errors.push(error.code));
    socket.open();
    socket.say(
      { op: "error", id: 1, code: "syntax", message: "unknown column", line: 1, column: 8, retry: false },
      { op: "error", id: 2, code: "view_failed", message: "the table b was dropped", retry: true },
    );
    expect([a.state, a.error?.column, b.state, errors]).toEqual(["failed", 8, "failed", ["syntax"]]);
    socket.heard();
    vi.advanceTimersByTime(500);
    expect(socket.heard()).toEqual([{ op: "subscribe", id: 2, query: "b", snapshot: true }]);
    socket.say(snapshot(2, 1, [["y", 1]]), progress(1));
    expect([b.state, b.error]).toEqual(["live", null]);
    a.retry();
    expect(socket.heard().at(-1)).toEqual({ op: "subscribe", id: 1, query: "a", snapshot: true });
  });

  test("of the connection are told there", () => {
    const { live, socket } = start();
    const errors: string[] = [];
    live.on("error", (error) => errors.push(error.code));
    socket.open();
    socket.say({ op: "error", code: "bad_message", message: "unknown op", retry: false });
    expect(errors).toEqual(["bad_message"]);
  });
});

describe("a page that is away", () => {
  afterEach(() => vi.unstubAllGlobals());

  function stub(): { document: { hidden: boolean }; navigator: { onLine: boolean }; back: () => void } {
    const listeners = new Set<() => void>();
    const target = {
      addEventListener: (_: string, listener: () => void) => void listeners.add(listener),
      removeEventListener: (_: string, listener: () => void) => void listeners.delete(listener),
    };
    const document = { hidden: false, ...target };
    const navigator = { onLine: true };
    vi.stubGlobal("document", document);
    vi.stubGlobal("navigator", navigator);
    vi.stubGlobal("addEventListener", target.addEventListener);
    vi.stubGlobal("removeEventListener", target.removeEventListener);
    return { document, navigator, back: () => listeners.forEach((listener) => listener()) };
  }

  test.each(["hidden", "offline"])("%s, does not try to connect until it is back", (how) => {
    const { document, navigator, back } = stub();
    const { live, socket } = start();
    socket.open();
    socket.say(progress(1));
    if (how === "hidden") document.hidden = true;
    else navigator.onLine = false;
    socket.lose();
    vi.advanceTimersByTime(60_000);
    expect([FakeSocket.all.length, live.status.state, live.status.retryMs]).toEqual([1, "reconnecting", null]);
    back();
    expect(FakeSocket.all.length).toBe(1);
    document.hidden = false;
    navigator.onLine = true;
    back();
    expect(FakeSocket.all.length).toBe(2);
  });

  test("takes a round a second while it is hidden, and at once when it is seen", () => {
    const { document, back } = stub();
    const { live, socket } = start();
    const a = live.subscribe({ query: "a" });
    socket.open();
    socket.say(snapshot(1, 1, [["x", 1]]), progress(1));
    expect(socket.heard().at(-1)).toEqual({ op: "ack", version: 1 });
    document.hidden = true;
    socket.say(delta(1, 2, [["x", 2]]), progress(2));
    vi.advanceTimersByTime(900);
    expect([a.table?.version, socket.heard()]).toEqual([1, []]);
    vi.advanceTimersByTime(100);
    expect([a.table?.version, socket.heard()]).toEqual([2, [{ op: "ack", version: 2 }]]);
    socket.say(delta(1, 3, [["x", 3]]), progress(3));
    document.hidden = false;
    back();
    expect(a.table?.version).toBe(3);
  });
});

test("a refusal with a time to wait is not asked again before", () => {
  const { live, socket } = start();
  live.subscribe({ query: "a" });
  socket.open();
  socket.heard();
  socket.say({ op: "error", id: 1, code: "too_many_requests", message: "m", retry: true, retry_after: 3 });
  vi.advanceTimersByTime(2_999);
  expect(socket.heard()).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(socket.heard().map((message) => message.op)).toEqual(["subscribe"]);
});

test("MessagePack is asked for by its subprotocol, and spoken", () => {
  const asked: string[] = [];
  live = connect({
    url: "http://server/",
    encoding: "msgpack",
    socket: (_, protocol) => {
      asked.push(protocol);
      return new FakeSocket();
    },
  });
  live.subscribe({ query: "a" });
  FakeSocket.last().open();
  expect(asked).toEqual(["nowcast.v1.msgpack"]);
  expect(FakeSocket.last().sent.map((message) => message.op)).toEqual(["pace", "subscribe"]);
});
