// The server from the inside: how fast rows come, who watches, and how each live query is kept.

import { type JSX, useEffect } from 'react';
import { Freshness } from '../dashboard/Freshness';
import type { StatusInfo } from '../feed/api';
import { usePolled } from '../feed/poll';
import { exact, rate, short } from '../format/number';
import { follow } from '../router';
import { Header } from '../ui/Header';

const MODES: Readonly<Record<string, string>> = { incremental: 'incremental', reevaluated: 're-evaluated' };

/** "3 days", "2 h 10 min", "45 s" */
function span(seconds: number): string {
  if (seconds < 90) return `${Math.floor(seconds)} s`;
  if (seconds < 5400) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} days`;
}

export function Status(): JSX.Element {
  const { value, error } = usePolled<StatusInfo>('/api/v1/status', 2000);
  useEffect(() => {
    document.title = 'Status · Nowcast';
  }, []);
  return (
    <>
      <Header title="Status" fresh={<Freshness panels={[]} />}><a className="top-link" href="/" onClick={follow}>Dashboards and tables</a></Header>
      <main className="page home-page">
        {error && <div className="notice" role="alert"><p><b>{error.message}</b></p>{error.hint && <p className="notice-more">{error.hint}</p>}</div>}
        {value && (
          <>
            <dl className="tiles">
              <div><dt>Rows per second</dt><dd>{rate(value.rows_per_second)}</dd></div>
              <div><dt>Viewers</dt><dd>{exact(value.viewers)}</dd></div>
              <div><dt>Live queries</dt><dd>{exact(value.views.length)}</dd></div>
              <div><dt>Position</dt><dd>{short(Number(value.position))}</dd></div>
              {value.uptime_s !== undefined && <div><dt>Running for</dt><dd>{span(value.uptime_s)}</dd></div>}
            </dl>
            <h2>Live queries</h2>
            {value.views.length === 0 && <p className="note">Nobody watches anything now.</p>}
            {value.views.length > 0 && (
              <div className="list-wrap">
                <table className="list">
                  <thead><tr><th scope="col">Query</th><th scope="col">Kept</th><th scope="col" className="num">Viewers</th><th scope="col" className="num hide-phone">Evaluations</th></tr></thead>
                  <tbody>
                    {value.views.map((view) => (
                      <tr key={view.id}>
                        <td className="query"><code title={view.query}>{view.query}</code></td>
                        <td>{MODES[view.mode] ?? view.mode}{view.reason && <small>{view.reason}</small>}</td>
                        <td className="num">{exact(view.viewers)}</td>
                        <td className="num hide-phone">{exact(view.evaluations)}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            )}
          </>
        )}
      </main>
    </>
  );
}
