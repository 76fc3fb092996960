// A panel's query, one press away: to read, to copy, and how the server keeps it.

import type { JSX } from 'react';
import { modes } from '../feed/modes';
import { Dialog } from '../ui/Dialog';
import { Snippet } from '../ui/Copy';
import { useStore } from '../ui/store';
import type { Definition } from './definition';
import { page, showSql } from './page';

export function QueryDialog({ definition }: { definition: Definition }): JSX.Element | null {
  const id = useStore(page, (s) => s.sql);
  const mode = useStore(modes, (s) => (id ? s[id] : undefined));
  const panel = definition.panels.find((p) => p.id === id);
  if (!panel) return null;
  return (
    <Dialog title={panel.title} onClose={() => showSql(null)}>
      <Snippet text={panel.query.trim()} label="Query" />
      <p className="note">
        {mode === 'incremental' && 'Incremental: each change of a row moves the result; nothing is computed twice.'}
        {mode === 'reevaluated' && 'Re-evaluated: after changes the query runs again, once for all viewers. EXPLAIN LIVE says why.'}
      </p>
    </Dialog>
  );
}
