/**
 * What came from the server as messages, in the order in which it came. Text is JSON and binary MessagePack, both
 * read at once; a binary message that begins with gzip's first byte is unpacked first, which takes the platform a
 * moment, and what comes behind it waits.
 */

import { unpack } from "./msgpack.js";
import type { ServerMessage } from "./wire.js";

const GZIP = 0x1f;

export class Decoder {
  #told: (message: ServerMessage) => void;
  #failed: (error: unknown) => void;
  #waiting: Promise<void> | null = null;
  #ended = false;

  /** Tells `told` each message; what cannot be read is told to `failed`. */
  constructor(told: (message: ServerMessage) => void, failed: (error: unknown) => void) {
    this.#told = told;
    this.#failed = failed;
  }

  /** Takes in the data of a socket's message event. */
  take(data: unknown): void {
    const zipped = data instanceof ArrayBuffer && new Uint8Array(data)[0] === GZIP;
    if (!zipped && !this.#waiting) {
      this.#tell(data);
      return;
    }
    const waiting: Promise<void> = (this.#waiting ?? Promise.resolve())
      .then(() => (zipped && !this.#ended ? gunzip(data) : data))
      .then((plain) => this.#tell(plain), this.#failed)
      .then(() => void (this.#waiting === waiting && (this.#waiting = null)));
    this.#waiting = waiting;
  }

  /** Nothing is told from now on. */
  end(): void {
    this.#ended = true;
  }

  #tell(data: unknown): void {
    if (this.#ended) return;
    let message: ServerMessage;
    try {
      if (typeof data === "string") message = JSON.parse(data) as ServerMessage;
      else if (data instanceof ArrayBuffer) message = unpack(new Uint8Array(data)) as ServerMessage;
      else return;
    } catch (error) {
      this.#failed(error);
      return;
    }
    this.#told(message);
  }
}

function gunzip(bytes: ArrayBuffer): Promise<ArrayBuffer> {
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(plain).arrayBuffer();
}
