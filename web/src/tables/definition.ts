// A dashboard for any table, made from its columns: how fast rows come, the newest of them, and a line for each number.

import { type TableInfo, tablePath } from '../feed/api';
import type { At, Definition, PanelDef } from '../dashboard/definition';
import { heading } from '../format/cell';
import { isNumber } from '../frames/frame';

const LINES_MAX = 9;
const RANGE_SECONDS = 300;
const LINES_A_ROW = 3;

export const quoted = (name: string): string => `"${name.replace(/"/g, '""')}"`;

const from = (table: TableInfo): string =>
  !table.schema || table.schema === 'public' ? quoted(table.name) : `${quoted(table.schema)}.${quoted(table.name)}`;

function panel(id: string, title: string, chart: string, at: At, query: string, more: Partial<PanelDef> = {}): PanelDef {
  return { id, title, chart, at, query, compare: false, spark: false, ...more };
}

export function tableDefinition(table: TableInfo): Definition {
  const source = from(table);
  const panels: PanelDef[] = [];
  const { timestamp } = table;
  if (timestamp === null || timestamp === '') {
    panels.push(
      panel('rows', 'Rows', 'stat', [0, 0, 12, 2], `SELECT count(*) AS "rows" FROM ${source}`),
      panel('newest', 'Rows of the table', 'table', [0, 2, 12, 8], `SELECT * FROM ${source} LIMIT 50`),
    );
  } else {
    const ts = quoted(timestamp);
    const since = (interval: string): string => `WHERE ${ts} >= now() - interval '${interval}'`;
    // The bin is named as the time itself: any other name could be that of a column.
    const binned = (interval: string, value: string): string =>
      `SELECT date_bin(interval '${interval}', ${ts}) AS ${ts}, ${value}\nFROM ${source} ${since('5 minutes')}\nGROUP BY 1 ORDER BY 1`;
    panels.push(
      panel('rate', 'Rows per second, last 10 seconds', 'stat', [0, 0, 4, 2],
        `SELECT count(*) / 10.0 AS "rows per second" FROM ${source} ${since('10 seconds')}`,
        { sparkQuery: binned('10 seconds', 'count(*) AS "rows"') }),
      panel('recent', 'Rows, last 5 minutes', 'stat', [4, 0, 4, 2], `SELECT count(*) AS "rows" FROM ${source} ${since('5 minutes')}`),
      panel('rows', 'Rows in all', 'stat', [8, 0, 4, 2], `SELECT count(*) AS "rows" FROM ${source}`),
      panel('per-second', 'Rows per second, last 5 minutes', 'bar', [0, 2, 5, 6], binned('1 second', 'count(*) AS "rows"')),
      panel('newest', 'Newest rows', 'table', [5, 2, 7, 6], `SELECT * FROM ${source} ORDER BY ${ts} DESC LIMIT 50`),
    );
    const numbers = table.columns.filter((column) => isNumber(column)).slice(0, LINES_MAX);
    numbers.forEach(({ name }, index) => {
      const width = numbers.length >= LINES_A_ROW ? 4 : 12 / numbers.length;
      const at: At = [(index % LINES_A_ROW) * width, 8 + Math.floor(index / LINES_A_ROW) * 4, width, 4];
      panels.push(panel(`column-${name}`, `${heading(name)}, mean of 5 seconds`, 'line', at, binned('5 seconds', `avg(${quoted(name)}) AS ${quoted(name)}`)));
    });
  }
  return { name: tablePath(table), title: tablePath(table), rangeSeconds: RANGE_SECONDS, variables: [], panels, source: 'query' };
}
