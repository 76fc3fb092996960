/** Values: how they are read from the wire and how they sort. */

import type { Cell, Direction } from "./wire.js";

const INTEGERS = new Set(["BYTE", "SHORT", "INT", "LONG", "UINT", "TIMESTAMP", "TIMESTAMP_NS", "DATE"]);
const FLOATS = new Set(["FLOAT", "DOUBLE"]);

/** Turns a float column's `"Infinity"` into the number; every other value stays as it is. */
export function decodeCell(cell: Cell, type: string): Cell {
  if (typeof cell === "string" && FLOATS.has(type)) return Number(cell);
  return cell;
}

/** Orders text by code point. JavaScript's `<` goes by UTF-16 unit, which puts U+1F600 before U+FF01. */
export function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    let x = a.charCodeAt(i);
    let y = b.charCodeAt(i);
    if (x === y) continue;
    // Surrogates stand for code points above all other units: move them there.
    if (x >= 0xd800 && y >= 0xd800) {
      x = x >= 0xe000 ? x - 0x800 : x + 0x2000;
      y = y >= 0xe000 ? y - 0x800 : y + 0x2000;
    }
    return x - y;
  }
  return a.length - b.length;
}

/** Orders two values of a column of `type` that are not null. */
export function compareCells(a: Cell, b: Cell, type: string): number {
  if (typeof a === "number" && typeof b === "number") return a - b || 0;
  if (INTEGERS.has(type)) {
    // Beyond 2^53 an integer travels as a string; mixed columns are compared exactly.
    const x = BigInt(a as string | number);
    const y = BigInt(b as string | number);
    return x < y ? -1 : x > y ? 1 : 0;
  }
  if (typeof a === "boolean" && typeof b === "boolean") return Number(a) - Number(b);
  return compareText(String(a), String(b));
}

/** Orders two values as a column's direction says. NULL is greater than every value. */
export function compareDirected(a: Cell, b: Cell, type: string, direction: Direction): number {
  const ascending =
    a === null || b === null ? Number(a === null) - Number(b === null) : compareCells(a, b, type);
  return direction === "desc" ? -ascending : ascending;
}
