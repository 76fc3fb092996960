/**
 * @nowcast/client: watch live queries of a Nowcast server.
 *
 * ```ts
 * const live = connect();                        // the page's own server
 * const orders = live.subscribe({ query: "SELECT country, count() AS n FROM orders GROUP BY country" });
 * orders.on("change", () => console.table(orders.table?.rows()));
 * ```
 *
 * Changes are applied when the `progress` that closes their round arrives, to all tables at once: between two
 * tasks of the event loop every table is of one moment.
 */

export { connect, Live } from "./live.js";
export type { ConnectOptions, ConnectionState, LiveEvents, Progress, SocketLike, Status } from "./live.js";
export { Subscription } from "./subscription.js";
export type { SubscribeOptions, SubscriptionEvents, SubscriptionState } from "./subscription.js";
export { LiveTable } from "./table.js";
export type { Change } from "./table.js";
export { compareCells, compareText, decodeCell } from "./cell.js";
export { SUBPROTOCOL, SUBPROTOCOL_MSGPACK } from "./wire.js";
export type {
  Behind, Cell, Column, Direction, ErrorMessage, Params, ParamValue, Row, Schema, ServerMessage, Target,
} from "./wire.js";
