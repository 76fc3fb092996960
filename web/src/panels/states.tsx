// Loading, empty and failed: designed, and as large as what they stand for.

import type { JSX } from 'react';
import type { PanelDef } from '../dashboard/definition';
import { showSql } from '../dashboard/page';
import { theHub } from '../feed/hooks';
import type { LiveError, LiveState } from '../feed/types';

export function Loading({ chart, live }: { chart: string; live: LiveState }): JSX.Element {
  if (live.phase === 'seeding') {
    const percent = Math.round(live.percent);
    return (
      <div className="state">
        <p>seeding {percent} %</p>
        <div className="meter" role="progressbar" aria-label="Seeding" aria-valuenow={percent} aria-valuemin={0} aria-valuemax={100}>
          <i style={{ width: `${percent}%` }} />
        </div>
      </div>
    );
  }
  const shape = chart === 'stat' || chart === 'gauge' ? 'stat' : chart === 'line' || chart === 'area' ? 'line' : chart === 'table' ? 'rows' : 'bars';
  return (
    <div className={`skeleton skeleton-${shape}`} role="status" aria-label="Loading">
      {Array.from({ length: shape === 'stat' ? 2 : 8 }, (_, i) => <i key={i} style={shape === 'bars' ? { width: `${92 - i * 10}%` } : undefined} />)}
    </div>
  );
}

export function Empty({ panel }: { panel: PanelDef }): JSX.Element {
  return (
    <div className="state">
      <p>No rows yet</p>
      <p className="state-more">The query runs and found nothing in its range. New rows show up here by themselves.</p>
      <button type="button" className="small" onClick={() => showSql(panel.id)}>Show the query</button>
    </div>
  );
}

export function Failed({ error, panel }: { error: LiveError; panel: PanelDef }): JSX.Element {
  const forbidden = error.code === 'forbidden' || error.code === 'unauthorized';
  return (
    <div className="state bad" role="alert">
      <p>{forbidden ? 'This panel is not yours to see' : error.message}</p>
      {error.line !== undefined && <p className="state-more">line {error.line}{error.column !== undefined ? `, column ${error.column}` : ''}</p>}
      <p className="state-more">{forbidden ? 'Ask whoever runs this server for a token that may read it.' : error.hint}</p>
      <div className="state-buttons">
        <button type="button" className="small" onClick={() => showSql(panel.id)}>Show the query</button>
        <button type="button" className="small" onClick={() => theHub().retryFailed()}>Try again</button>
      </div>
    </div>
  );
}
