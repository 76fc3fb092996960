// How fresh the page is, always in sight; and behind it, how it is kept so.

import type { JSX } from 'react';
import type { StatusInfo } from '../feed/api';
import { theHub, useClock, useConnection } from '../feed/hooks';
import { modes } from '../feed/modes';
import { usePolled } from '../feed/poll';
import { exact, rate } from '../format/number';
import { Menu } from '../ui/Menu';
import { useStore } from '../ui/store';
import type { PanelDef } from './definition';
import { freshness } from './words';

export function Freshness({ panels }: { panels: readonly PanelDef[] }): JSX.Element {
  const state = useConnection((c) => c.state);
  const retryMs = useConnection((c) => c.retryMs);
  const now = useClock(500);
  const { word, detail } = freshness(state, theHub().heardMs, retryMs, now);
  return (
    <Menu label="How fresh this page is" role="dialog" className={`fresh fresh-${state}`}
      button={<><i className="dot" /><span className="fresh-word">{word}</span>{detail && <span className="fresh-detail"> · {detail}</span>}</>}>
      {() => <Detail panels={panels} />}
    </Menu>
  );
}

function Detail({ panels }: { panels: readonly PanelDef[] }): JSX.Element {
  const status = usePolled<StatusInfo>('/api/v1/status', 2000);
  const known = useStore(modes, (s) => s);
  const version = useConnection((c) => c.version);
  const position = useConnection((c) => c.position);
  const state = useConnection((c) => c.state);
  const reason = useConnection((c) => c.reason);
  const { value, error } = status;
  return (
    <div className="detail">
      <dl className="facts">
        <div><dt>Rows per second</dt><dd>{value ? rate(value.rows_per_second) : '—'}</dd></div>
        <div><dt>Viewers</dt><dd>{value ? exact(value.viewers) : '—'}</dd></div>
        <div><dt>Position</dt><dd>{position || '—'}</dd></div>
        <div><dt>Version</dt><dd>{exact(version)}</dd></div>
      </dl>
      {state === 'reconnecting' && (
        <p className="detail-note">{reason ?? 'the connection was lost'}. <button type="button" className="small" onClick={() => theHub().retry()}>Try now</button></p>
      )}
      {error && !value && <p className="detail-note">{error.message}</p>}
      {value && (
        <p className="detail-note">
          {exact(value.viewers)} {value.viewers === 1 ? 'viewer' : 'viewers'} · {theHub().watched} queries · 1 evaluation each
        </p>
      )}
      <table className="detail-panels">
        <tbody>
          {panels.filter((panel) => panel.query !== '').map((panel) => (
            <tr key={panel.id}>
              <th scope="row">{panel.title}</th>
              <td>{known[panel.id] === 'reevaluated' ? 're-evaluated' : known[panel.id] ?? '—'}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <a className="detail-link" href="/status">Status of the server</a>
    </div>
  );
}
