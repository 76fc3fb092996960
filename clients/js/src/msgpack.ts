/**
 * MessagePack, as far as the live protocol needs it: nil, booleans, numbers, text, arrays, maps with text keys.
 * Integers beyond 2^53 do not occur: the protocol sends them as text.
 */

const utf8 = new TextEncoder();
const text = new TextDecoder("utf-8", { fatal: true });

/** Writes a value. `undefined` fields are left out, as in JSON. */
export function pack(value: unknown): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  writer.value(value);
  return writer.done();
}

/** Reads one value, which must fill `bytes`. */
export function unpack(bytes: Uint8Array): unknown {
  const reader = new Reader(bytes);
  const value = reader.value();
  if (reader.at !== bytes.length) throw new RangeError(`${bytes.length - reader.at} bytes come behind the value`);
  return value;
}

class Writer {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  done(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#at);
  }

  value(value: unknown): void {
    if (value === null || value === undefined) this.#byte(0xc0);
    else if (typeof value === "boolean") this.#byte(value ? 0xc3 : 0xc2);
    else if (typeof value === "number") this.#number(value);
    else if (typeof value === "string") this.#text(value);
    else if (Array.isArray(value)) {
      this.#length(value.length, 0x90, 16, null, 0xdc);
      for (const item of value) this.value(item);
    } else {
      const entries = Object.entries(value).filter(([, item]) => item !== undefined);
      this.#length(entries.length, 0x80, 16, null, 0xde);
      for (const [key, item] of entries) {
        this.#text(key);
        this.value(item);
      }
    }
  }

  #room(more: number): number {
    const at = this.#at;
    this.#at += more;
    if (this.#at > this.#bytes.length) {
      const bytes = new Uint8Array(Math.max(this.#at, this.#bytes.length * 2));
      bytes.set(this.#bytes);
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer);
    }
    return at;
  }

  #byte(byte: number): void {
    const at = this.#room(1);
    this.#bytes[at] = byte;
  }

  #number(value: number): void {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
      this.#byte(0xcb);
      const at = this.#room(8);
      this.#view.setFloat64(at, value);
    } else if (value >= 0) {
      if (value < 0x80) this.#byte(value);
      else if (value <= 0xff) this.#int(0xcc, 1, value);
      else if (value <= 0xffff) this.#int(0xcd, 2, value);
      else if (value <= 0xffffffff) this.#int(0xce, 4, value);
      else this.#int(0xcf, 8, value);
    } else if (value >= -0x20) this.#byte(value & 0xff);
    else if (value >= -0x80) this.#int(0xd0, 1, value);
    else if (value >= -0x8000) this.#int(0xd1, 2, value);
    else if (value >= -0x80000000) this.#int(0xd2, 4, value);
    else this.#int(0xd3, 8, value);
  }

  #int(mark: number, size: 1 | 2 | 4 | 8, value: number): void {
    this.#byte(mark);
    const at = this.#room(size);
    if (size === 1) this.#view.setUint8(at, value & 0xff);
    else if (size === 2) this.#view.setUint16(at, value & 0xffff);
    else if (size === 4) this.#view.setUint32(at, value >>> 0);
    else this.#view.setBigInt64(at, BigInt(value));
  }

  #text(value: string): void {
    const bytes = utf8.encode(value);
    this.#length(bytes.length, 0xa0, 32, 0xd9, 0xda);
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
  }

  #length(length: number, within: number, below: number, one: number | null, two: number): void {
    if (length < below) this.#byte(within | length);
    else if (one !== null && length <= 0xff) this.#int(one, 1, length);
    else if (length <= 0xffff) this.#int(two, 2, length);
    else this.#int(two + 1, 4, length);
  }
}

class Reader {
  at = 0;
  #bytes: Uint8Array;
  #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  value(): unknown {
    const mark = this.#uint(1);
    if (mark < 0x80) return mark;
    if (mark >= 0xe0) return mark - 0x100;
    if (mark < 0x90) return this.#map(mark & 0x0f);
    if (mark < 0xa0) return this.#array(mark & 0x0f);
    if (mark < 0xc0) return this.#text(mark & 0x1f);
    switch (mark) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xca: return this.#view.getFloat32(this.#skip(4));
      case 0xcb: return this.#view.getFloat64(this.#skip(8));
      case 0xcc: return this.#uint(1);
      case 0xcd: return this.#uint(2);
      case 0xce: return this.#uint(4);
      case 0xcf: return Number(this.#view.getBigUint64(this.#skip(8)));
      case 0xd0: return this.#view.getInt8(this.#skip(1));
      case 0xd1: return this.#view.getInt16(this.#skip(2));
      case 0xd2: return this.#view.getInt32(this.#skip(4));
      case 0xd3: return Number(this.#view.getBigInt64(this.#skip(8)));
      case 0xd9: return this.#text(this.#uint(1));
      case 0xda: return this.#text(this.#uint(2));
      case 0xdb: return this.#text(this.#uint(4));
      case 0xdc: return this.#array(this.#uint(2));
      case 0xdd: return this.#array(this.#uint(4));
      case 0xde: return this.#map(this.#uint(2));
      case 0xdf: return this.#map(this.#uint(4));
      default: throw new RangeError(`0x${mark.toString(16)} is not used by the live protocol`);
    }
  }

  /** Past the end the view throws a RangeError. */
  #skip(size: number): number {
    const at = this.at;
    this.at += size;
    return at;
  }

  #uint(size: 1 | 2 | 4): number {
    const at = this.#skip(size);
    return size === 1 ? this.#view.getUint8(at) : size === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  #text(length: number): string {
    const at = this.#skip(length);
    if (this.at > this.#bytes.length) throw new RangeError("a text goes past the end");
    return text.decode(this.#bytes.subarray(at, this.at));
  }

  #array(length: number): unknown[] {
    const items: unknown[] = [];
    for (let n = 0; n < length; n++) items.push(this.value());
    return items;
  }

  #map(length: number): Record<string, unknown> {
    const entries: [string, unknown][] = [];
    for (let n = 0; n < length; n++) entries.push([String(this.value()), this.value()]);
    return Object.fromEntries(entries);
  }
}
