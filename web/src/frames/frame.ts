// A frame is one live table as the page draws it: plain columns, no UI.
//
// Numbers (timestamps in µs among them) lie in a Float64Array with NaN for null; everything else, and any number
// column that carries an integer too large for a double (the server sends those as text), is a plain array.
// A frame never changes once it is made; the next moment makes a new one.

/** A column as the server names it. */
export interface Column {
  readonly name: string;
  /** QuestDB's type name: DOUBLE, LONG, SYMBOL, TIMESTAMP… */
  readonly type: string;
  /** Sent for sorting or as part of the key only; not shown. */
  readonly hidden?: boolean;
}

/** What one cell can hold. Timestamps are µs since 1970 UTC. */
export type Cell = number | string | boolean | null;

/** A row in the order of the schema's columns. */
export type Row = readonly Cell[];

/** A column's cells. */
export type Cells = Float64Array | readonly Cell[];

const NUMBERS = new Set([
  'BYTE', 'SHORT', 'INT', 'LONG', 'UINT', 'ULONG', 'FLOAT', 'DOUBLE', 'DECIMAL',
  'TINYINT', 'SMALLINT', 'INTEGER', 'BIGINT', 'REAL',
]);
const TIMES = new Set(['TIMESTAMP', 'TIMESTAMP_NS', 'DATE', 'TIMESTAMPTZ']);

export const isTime = (column: Column): boolean => TIMES.has(column.type.toUpperCase());
export const isNumber = (column: Column): boolean => NUMBERS.has(column.type.toUpperCase().replace(/\(.*/, ''));

/** What a cell counts as in a chart: NaN for anything that is no number. */
export function toNumber(cell: Cell | undefined): number {
  if (typeof cell === 'number') return cell;
  if (typeof cell === 'string' && cell !== '') return Number(cell);
  return NaN;
}

export class Frame {
  private constructor(
    readonly columns: readonly Column[],
    private readonly cells: readonly Cells[],
    readonly length: number,
  ) {}

  static readonly EMPTY = new Frame([], [], 0);

  /** Columns from rows that are already in the order to be shown. */
  static of(columns: readonly Column[], rows: readonly Row[]): Frame {
    const cells = columns.map((column, c): Cells => {
      if (!isNumber(column) && !isTime(column)) return rows.map((row) => row[c] ?? null);
      const numbers = new Float64Array(rows.length);
      for (let r = 0; r < rows.length; r++) {
        const cell = rows[r]![c];
        if (typeof cell === 'string') return rows.map((row) => row[c] ?? null);
        numbers[r] = typeof cell === 'number' ? cell : NaN;
      }
      return numbers;
    });
    return new Frame(columns, cells, rows.length);
  }

  /** The cell as sent; NaN is null. */
  cell(column: number, row: number): Cell {
    const cell = this.cells[column]?.[row];
    return cell === undefined || (typeof cell === 'number' && Number.isNaN(cell)) ? null : cell;
  }

  /** The cell as a number; NaN if it is none. */
  number(column: number, row: number): number {
    const cell = this.cells[column]?.[row];
    return typeof cell === 'number' ? cell : toNumber(cell);
  }

  /** A time cell in µs since 1970; NaN if it is none. Nanoseconds come as text. */
  timeUs(column: number, row: number): number {
    const value = this.number(column, row);
    return this.columns[column]?.type.toUpperCase() === 'TIMESTAMP_NS' ? value / 1000 : value;
  }

  /** The cell as text; empty for null. */
  text(column: number, row: number): string {
    const cell = this.cell(column, row);
    return cell === null ? '' : String(cell);
  }

  /** Rows as arrays, hidden columns included. */
  rows(): Cell[][] {
    return Array.from({ length: this.length }, (_, row) => this.columns.map((_, column) => this.cell(column, row)));
  }

  /** Indices of the columns to show. */
  shown(): number[] {
    return this.columns.flatMap((column, index) => (column.hidden ? [] : [index]));
  }

  /** The first shown column that satisfies `test`, or -1. */
  find(test: (column: Column) => boolean): number {
    return this.columns.findIndex((column) => !column.hidden && test(column));
  }
}
