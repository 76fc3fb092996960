// The PostgreSQL wire through node-postgres.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { start } from './server.mjs';

let server;
before(async () => { server = await start('serve'); });
after(async () => { await server?.stop(); });

const connect = async (password) => {
  const client = new pg.Client({ host: '127.0.0.1', port: server.pgPort, user: 'admin', password, database: 'any' });
  await client.connect();
  return client;
};

test('a wrong password is refused', async () => {
  await assert.rejects(connect('wrong'));
});

test('simple and prepared queries', async () => {
  const client = await connect('quest');
  await client.query('CREATE TABLE readings (city SYMBOL, t DOUBLE, ts TIMESTAMP) timestamp(ts)');
  await client.query("INSERT INTO readings VALUES ('Bern', 21.5, '2024-01-01'), ('Basel', 23, '2024-01-02')");
  const simple = await client.query('SELECT count() AS n FROM readings');
  assert.deepEqual(simple.rows, [{ n: '2' }]);
  const prepared = await client.query({ name: 'by-city', text: 'SELECT t, ts FROM readings WHERE city = $1', values: ['Bern'] });
  assert.equal(prepared.rows[0].t, 21.5);
  assert.ok(prepared.rows[0].ts instanceof Date);
  await assert.rejects(client.query('SELECT nothing FROM readings'), /nothing/);
  await client.end();
});
