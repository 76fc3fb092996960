// The README's page with a live number, as another site serves it.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { start, until } from './server.mjs';

const FLAGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'];
let server;
let browser;
let site;

before(async () => {
  const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8');
  const page = /```html\n([\s\S]*?)```/.exec(readme)[1];
  site = createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end(page.replace('http://127.0.0.1:9000', server.base));
  });
  await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
  process.env.NOWCAST_HTTP_CORS_ORIGINS = `http://127.0.0.1:${site.address().port}`;
  server = await start('serve');
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });
});
after(async () => {
  await browser?.close();
  await server?.stop();
  site?.close();
});

test('five lines of HTML show a live number', async () => {
  const write = (line) => fetch(`${server.base}/write`, { method: 'POST', body: line });
  await write('weather,city=Bern t=21.5');
  const page = await (await browser.newContext()).newPage();
  const problems = [];
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && problems.push(message.text()));
  await page.goto(process.env.NOWCAST_HTTP_CORS_ORIGINS);
  const shown = () => page.evaluate(() => document.querySelector('#rows').textContent);
  await until(async () => (await shown()) === '1', `the first number; ${problems}`, 20);
  await write('weather,city=Bern t=22');
  await until(async () => (await shown()) === '2', 'the second number', 20);
  assert.deepEqual(problems, []);
});
