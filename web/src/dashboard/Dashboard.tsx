// A dashboard: its definition, live as well, so that saving the file changes the open page; and its panels, placed.

import { type JSX, useEffect, useMemo, useState } from 'react';
import { useLive } from '../feed/hooks';
import { usePolled } from '../feed/poll';
import type { LiveError } from '../feed/types';
import type { Frame } from '../frames/frame';
import { clock, lastRange } from '../format/time';
import { follow } from '../router';
import { forgetColours } from '../theme/colours';
import { Check, Cross, Down } from '../ui/icons';
import { Menu } from '../ui/Menu';
import { Header } from '../ui/Header';
import { useStore } from '../ui/store';
import { Announcer } from './Announcer';
import { type Definition, readDefinition, readError, uses } from './definition';
import { Filters } from './Filters';
import { Freshness } from './Freshness';
import { Grid } from './Grid';
import { page, setRange, setZoom } from './page';
import { QueryDialog } from './QueryDialog';

/** The definition in the one row of a `dashboard` subscription. */
function definitionIn(frame: Frame | null, name: string): { definition: Definition | null; error: LiveError | null } | null {
  if (!frame || frame.length === 0) return null;
  const column = (wanted: string): number => frame.columns.findIndex((c) => c.name === wanted);
  let json: unknown = null;
  try {
    json = JSON.parse(frame.text(column('definition'), 0) || 'null');
  } catch {
    // said below: no definition
  }
  return { definition: readDefinition(json, name), error: readError(frame.cell(column('error'), 0)) };
}

/** The last good definition, and what is wrong with the file now. */
function useDefinition(name: string): { definition: Definition | null; error: LiveError | null } {
  const live = useLive({ target: { dashboard: name } });
  // Asked for over HTTP too: whichever comes first draws the page.
  const fetched = usePolled<unknown>(`/api/v1/dashboards/${encodeURIComponent(name)}`, 0);
  const now = useMemo(() => definitionIn(live.frame, name), [live.frame, name]);
  const first = useMemo(() => readDefinition(fetched.value, name), [fetched.value, name]);
  const firstError = useMemo(() => readError((fetched.value as { error?: unknown } | null)?.error), [fetched.value]);
  const [good, setGood] = useState<Definition | null>(null);
  const newest = now?.definition ?? (now ? null : first);
  useEffect(() => setGood(null), [name]);
  useEffect(() => {
    if (newest && newest.panels.length > 0) setGood(newest);
  }, [newest]);
  const definition = newest && (newest.panels.length > 0 || !good) ? newest : good;
  const error = now ? now.error : definition ? firstError : live.error ?? fetched.error ?? firstError;
  return { definition: definition?.name === name || definition === newest ? definition : null, error };
}

export function Dashboard({ name }: { name: string }): JSX.Element {
  const { definition, error } = useDefinition(name);
  const wall = useStore(page, (s) => s.wall);
  useEffect(forgetColours, [name]);
  useEffect(() => {
    document.title = `${definition?.title ?? name} · Nowcast`;
  }, [definition?.title, name]);
  return (
    <>
      {!wall && (
        <Header title={definition?.title ?? name} fresh={<Freshness panels={definition?.panels ?? []} />}>
          {definition && <Filters variables={definition.variables} />}
          {definition && <Range definition={definition} />}
        </Header>
      )}
      <main className={wall ? 'page wall' : 'page'}>
        {error && definition && <FileError error={error} />}
        {error && !definition && <NoDashboard error={error} />}
        {definition ? <Grid definition={definition} wall={wall} /> : !error && <div className="grid-skeleton" role="status" aria-label="Loading" />}
      </main>
      {definition && <QueryDialog definition={definition} />}
      {definition && <Announcer definition={definition} />}
    </>
  );
}

/** Live ranges to choose from, in seconds. */
const RANGES = [60, 300, 900, 3600, 6 * 3600, 86_400];

function Range({ definition }: { definition: Definition }): JSX.Element {
  const zoom = useStore(page, (s) => s.zoom);
  const range = useStore(page, (s) => s.range);
  const zone = useStore(page, (s) => s.zone);
  const { rangeSeconds } = definition;
  if (zoom) {
    return (
      <span className="chip on">
        <span className="chip-main"><b>{clock(zoom.from, zone)} – {clock(zoom.to, zone)}</b></span>
        <button type="button" className="chip-clear" aria-label="Back to live" title="Back to live (l)" onClick={() => setZoom(null)}><Cross /></button>
      </span>
    );
  }
  const now = range ?? rangeSeconds;
  // A range can be chosen where a query follows it.
  if (!definition.panels.some((panel) => uses(panel.query, 'from'))) return <span className="range">{lastRange(now)}</span>;
  const choices = [...new Set([...RANGES, rangeSeconds, now])].sort((a, b) => a - b);
  return (
    <span className="chip">
      <Menu label="Time range" align="left" className="chip-main" button={<><b>{lastRange(now)}</b><Down /></>}>
        {(close) => choices.map((seconds) => (
          <button key={seconds} type="button" role="menuitemradio" aria-checked={seconds === now} className="item" onClick={() => { close(); setRange(seconds === rangeSeconds ? null : seconds); }}>
            <span>{lastRange(seconds)}</span>{seconds === now && <Check />}
          </button>
        ))}
      </Menu>
    </span>
  );
}

/** What is wrong with the file, over the last good dashboard. */
function FileError({ error }: { error: LiveError }): JSX.Element {
  const place = placeOf(error);
  return (
    <div className="notice over" role="alert">
      <p><b>{error.message}</b>{error.hint ? `; ${error.hint}` : ''}</p>
      <p className="notice-more">{place && `${place} · `}the last good dashboard is shown</p>
    </div>
  );
}


/** There is none of that name, or there never was a good one. */
function NoDashboard({ error }: { error: LiveError }): JSX.Element {
  const place = placeOf(error);
  return (
    <section className="welcome" role="alert">
      <h2>{error.message}</h2>
      {error.hint && <p>{error.hint}</p>}
      {place && <p>{place}</p>}
      <a href="/" onClick={follow}>All dashboards and tables</a>
    </section>
  );
}

const placeOf = ({ file, line, column }: LiveError): string =>
  [file, line !== undefined && `line ${line}`, column !== undefined && `column ${column}`].filter(Boolean).join(', ');
