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

test('types, arrays, transactions and errors', async () => {
  const client = await connect('quest');
  await client.query('CREATE TABLE of_node (name SYMBOL, n INT, l LONG, x DOUBLE, ok BOOLEAN, ts TIMESTAMP) timestamp(ts)');
  const at = new Date('2024-02-29T12:34:56.789Z');
  const insert = 'INSERT INTO of_node VALUES ($1, $2, $3, $4, $5, $6)';
  await client.query('BEGIN');
  for (let n = 0; n < 10; n++) await client.query(insert, [`n${n % 2}`, n, String(2n ** 40n), 0.1, true, at.toISOString()]);
  await client.query(insert, [null, null, null, null, null, '2024-03-01']);
  await client.query('COMMIT');
  const found = await client.query('SELECT n FROM of_node WHERE n = ANY($1) AND x < $2 AND ok ORDER BY n', [[1, 2, 99], 0.5]);
  assert.deepEqual(found.rows, [{ n: 1 }, { n: 2 }]);
  const row = (await client.query('SELECT * FROM of_node WHERE n = 1')).rows[0];
  assert.deepEqual({ ...row, ts: undefined }, { name: 'n1', n: 1, l: '1099511627776', x: 0.1, ok: true, ts: undefined });
  const nothing = (await client.query('SELECT * FROM of_node WHERE n IS NULL')).rows[0];
  assert.equal(nothing.name, null);
  await client.query('BEGIN');
  await client.query(insert, ['gone', 1, 1, 1, true, '2024-01-01']);
  await assert.rejects(client.query('SELECT nothing FROM of_node'), { code: '42703' });
  await assert.rejects(client.query('SELECT 1'), { code: '25P02' });
  await client.query('ROLLBACK');
  assert.deepEqual((await client.query('SELECT count() AS n FROM of_node')).rows, [{ n: '11' }]);
  await client.end();
});

test('a pool shares what it has', async () => {
  const pool = new pg.Pool({ host: '127.0.0.1', port: server.pgPort, user: 'admin', password: 'quest', database: 'any', max: 4 });
  const gone = [];
  pool.on('connect', (client) => gone.push(new Promise((resolve) => client.once('end', resolve))));
  const sums = await Promise.all(Array.from({ length: 40 }, (_, n) => pool.query('SELECT $1::bigint + 1 AS n', [n])));
  assert.deepEqual(sums.map((sum) => sum.rows[0].n), Array.from({ length: 40 }, (_, n) => String(n + 1)));
  await pool.end();
  // It does not wait for its connections, and the server that ends next would tell them.
  await Promise.all(gone);
});
