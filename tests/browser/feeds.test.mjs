// The feeds of other systems through their own JavaScript clients: Socket.IO's, and a browser page's WebSocket.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { io } from 'socket.io-client';
import { start, until } from './server.mjs';

const FLAGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'];
let server;
let browser;
let folder;

const write = (line) => fetch(`${server.base}/write`, { method: 'POST', body: line });

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nowcast-feeds-'));
  const config = join(folder, 'nowcast.toml');
  await writeFile(config, `
[[feed]]
query = "SELECT city AS dashboard_id, 'rows' AS metric_name, count() AS value FROM weather GROUP BY city"
`);
  server = await start('serve', '--config', config);
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });
  await write('weather,city=Bern t=21.5');
});
after(async () => {
  await browser?.close();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
  test(`Socket.IO over ${transports.join(', then ')}`, async () => {
    const socket = io(server.base, { transports });
    const heard = [];
    socket.on('connect', () => socket.emit('subscribe', 'Bern'));
    for (const event of ['initial-state', 'update', 'error']) socket.on(event, (data) => heard.push([event, data]));
    try {
      await until(() => heard.length > 0, 'the state', 20);
      const [event, state] = heard.shift();
      assert.deepEqual([event, Object.keys(state)], ['initial-state', ['rows']]);
      await write('weather,city=Chur t=1');
      await write('weather,city=Bern t=2');
      await until(() => heard.length > 0, 'an update', 20);
      const [name, update] = heard.shift();
      assert.equal(name, 'update');
      assert.ok(Math.abs(update.timestamp - Date.now()) < 30_000);
      assert.deepEqual(
        { ...update, timestamp: 0 },
        { timestamp: 0, metric: 'rows', value: state.rows.value + 1, metadata: {} },
      );
      // The engine loses its connection; the client comes back, and its handler subscribes again.
      socket.io.engine.close();
      await until(() => heard.some(([event]) => event === 'initial-state'), 'the state again', 20);
    } finally {
      socket.close();
    }
  });
}

test('a page follows a dashboard', async () => {
  const page = await (await browser.newContext()).newPage();
  await page.goto(server.base);
  await page.evaluate((address) => {
    window.heard = [];
    new WebSocket(address).onmessage = (event) => window.heard.push(JSON.parse(event.data));
  }, `${server.base.replace('http', 'ws')}/dashboard/Zug`);
  await write('weather,city=Zug t=1');
  const heard = () => page.evaluate(() => window.heard);
  await until(async () => (await heard()).length === 1, 'the first value', 20);
  await write('weather,city=Zug t=2');
  await until(async () => (await heard()).length === 2, 'the second value', 20);
  const [first, second] = await heard();
  assert.deepEqual([first.dashboard_id, first.metric_name, first.value, second.value], ['Zug', 'rows', 1, 2]);
});
