/** What tests see: the package, and what it does not show. */
export * from "../src/index.js";
export { Decoder } from "../src/decode.js";
export { pack, unpack } from "../src/msgpack.js";
export { compareDirected } from "../src/cell.js";
export type { ClientMessage } from "../src/wire.js";
