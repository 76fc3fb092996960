// A live page for any table.

import { type JSX, useEffect, useMemo } from 'react';
import { Freshness } from '../dashboard/Freshness';
import { Grid } from '../dashboard/Grid';
import { QueryDialog } from '../dashboard/QueryDialog';
import type { TableInfo } from '../feed/api';
import { usePolled } from '../feed/poll';
import { lastRange } from '../format/time';
import { Send } from '../home/Send';
import { Header } from '../ui/Header';
import { page } from '../dashboard/page';
import { useStore } from '../ui/store';
import { tableDefinition } from './definition';

export function TablePage({ name }: { name: string }): JSX.Element {
  // Columns come while a page is open; so does the table itself.
  const { value, error } = usePolled<TableInfo>(`/api/v1/tables/${encodeURIComponent(name)}`, 3000);
  const wall = useStore(page, (s) => s.wall);
  // Rows and rates change with every answer; only another shape makes another page.
  const shape = value && JSON.stringify([value.schema, value.name, value.timestamp, value.columns]);
  const definition = useMemo(() => (value ? tableDefinition(value) : null), [shape]);
  useEffect(() => {
    document.title = `${name} · Nowcast`;
  }, [name]);
  return (
    <>
      {!wall && (
        <Header title={name} fresh={<Freshness panels={definition?.panels ?? []} />}>
          <span className="range">{value ? `${value.columns.length} columns · ${lastRange(300).toLowerCase()}` : ''}</span>
        </Header>
      )}
      <main className={wall ? 'page wall' : 'page'}>
        {definition && <Grid definition={definition} wall={wall} />}
        {!definition && error && (
          <section className="welcome">
            <h2>{error.message}</h2>
            <p>{error.hint ?? 'Send a row to it, and this page comes to life.'}</p>
            <Send table={name} />
          </section>
        )}
      </main>
      {definition && <QueryDialog definition={definition} />}
    </>
  );
}
