// The pages and what they share: keys, help, and the announcement of the connection.

import { type JSX, useEffect } from 'react';
import { Dashboard } from './dashboard/Dashboard';
import { Help, useKeys } from './dashboard/keys';
import { page } from './dashboard/page';
import { useConnection } from './feed/hooks';
import { Home } from './home/Home';
import { follow, match, usePath } from './router';
import { Status } from './status/Status';
import { TablePage } from './tables/TablePage';
import { Header } from './ui/Header';
import { useStore } from './ui/store';

export function App(): JSX.Element {
  useKeys();
  const route = match(usePath());
  const wall = useStore(page, (s) => s.wall);
  const state = useConnection((connection) => connection.state);
  useEffect(() => {
    document.documentElement.toggleAttribute('data-wall', wall);
  }, [wall]);
  return (
    <>
      {route.page === 'home' && <Home />}
      {route.page === 'dashboard' && <Dashboard key={route.name} name={route.name} />}
      {route.page === 'table' && <TablePage key={route.name} name={route.name} />}
      {route.page === 'status' && <Status />}
      {route.page === 'missing' && <Missing path={route.path} />}
      <Help />
      <p className="vh" role="status">{state === 'reconnecting' ? 'The connection was lost; reconnecting.' : state === 'stale' ? 'No data is coming.' : ''}</p>
    </>
  );
}

function Missing({ path }: { path: string }): JSX.Element {
  return (
    <>
      <Header title="Nothing here" />
      <main className="page home-page">
        <section className="welcome">
          <h2>There is no page at {path}</h2>
          <p><a href="/" onClick={follow}>All dashboards and tables</a></p>
        </section>
      </main>
    </>
  );
}
