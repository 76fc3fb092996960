// What there is: dashboards and tables, with how fast rows come and how new they are. When there is nothing, how to
// send something.

import { type JSX, useEffect } from 'react';
import { type DashboardInfo, newestMs, type TableInfo, tablePath } from '../feed/api';
import { useClock } from '../feed/hooks';
import { usePolled } from '../feed/poll';
import { Freshness } from '../dashboard/Freshness';
import { readError } from '../dashboard/definition';
import { count, exact, rate, short } from '../format/number';
import { ago } from '../format/time';
import { follow } from '../router';
import { Header } from '../ui/Header';
import { Send } from './Send';

export function Home(): JSX.Element {
  const dashboards = usePolled<{ dashboards: readonly DashboardInfo[] }>('/api/v1/dashboards', 5000);
  const tables = usePolled<{ tables: readonly TableInfo[] }>('/api/v1/tables', 2000);
  useEffect(() => {
    document.title = 'Nowcast';
  }, []);
  const loaded = dashboards.value !== null && tables.value !== null;
  const error = (!dashboards.value && dashboards.error) || (!tables.value && tables.error);
  const boards = dashboards.value?.dashboards ?? [];
  const all = [...(tables.value?.tables ?? [])].sort((a, b) => b.rows_per_second - a.rows_per_second || b.rows - a.rows);
  const listed = all.filter((table) => !table.system);
  const own = all.filter((table) => table.system);
  const empty = loaded && boards.length === 0 && listed.length === 0;
  return (
    <>
      <Header title="Nowcast" fresh={<Freshness panels={[]} />}><a className="top-link" href="/status" onClick={follow}>Status</a></Header>
      <main className="page home-page">
        {error && <div className="notice" role="alert"><p><b>{error.message}</b></p>{error.hint && <p className="notice-more">{error.hint}</p>}</div>}
        {empty && (
          <section className="welcome">
            <h2>Send a row, and watch it arrive</h2>
            <p>There are no tables yet. Any of these makes one; its page is live from the first row.</p>
            <Send />
          </section>
        )}
        {boards.length > 0 && (
          <section aria-labelledby="dashboards">
            <h2 id="dashboards">Dashboards</h2>
            <ul className="cards">{boards.map((board) => <Board key={board.name} board={board} />)}</ul>
          </section>
        )}
        {listed.length > 0 && (
          <section aria-labelledby="tables">
            <h2 id="tables">Tables</h2>
            <Tables tables={listed} />
          </section>
        )}
        {own.length > 0 && (
          <details className="more-ways">
            <summary>Tables of the server itself</summary>
            <Tables tables={own} />
          </details>
        )}
        {loaded && !empty && (
          <details className="more-ways" open={listed.length === 0}>
            <summary>Send data</summary>
            <Send />
          </details>
        )}
      </main>
    </>
  );
}

function Board({ board }: { board: DashboardInfo }): JSX.Element {
  const error = readError(board.error);
  const panels = typeof board.panels === 'number' ? board.panels : board.panels?.length ?? 0;
  return (
    <li>
      <a className="card" href={`/d/${encodeURIComponent(board.name)}`} onClick={follow}>
        <b>{board.title || board.name}</b>
        <span>{panels} {panels === 1 ? 'panel' : 'panels'}</span>
        {error && <span className="card-error">{error.message}{error.line !== undefined ? `, line ${error.line}` : ''}</span>}
      </a>
    </li>
  );
}

function Tables({ tables }: { tables: readonly TableInfo[] }): JSX.Element {
  const now = useClock(1000);
  return (
    <div className="list-wrap">
      <table className="list">
        <thead><tr><th scope="col">Table</th><th scope="col" className="num">Rows per second</th><th scope="col" className="num">Rows</th><th scope="col" className="num hide-phone">Size</th><th scope="col" className="num hide-phone">Columns</th><th scope="col" className="num">Newest row</th></tr></thead>
        <tbody>
          {tables.map((table) => {
            const path = tablePath(table);
            const newest = newestMs(table.newest);
            return (
              <tr key={path}>
                <th scope="row"><a href={`/t/${encodeURIComponent(path)}`} onClick={follow}>{path}</a></th>
                <td className="num"><span className={table.rows_per_second > 0 ? 'moving' : 'idle'}>{rate(table.rows_per_second)}</span></td>
                <td className="num" title={exact(table.rows)}>{short(table.rows)}</td>
                <td className="num hide-phone">{short(table.bytes, 'B')}</td>
                <td className="num hide-phone">{count(table.columns.length, 'column').replace(/ .*/, '')}</td>
                <td className="num">{Number.isNaN(newest) ? '—' : ago(now - newest)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
