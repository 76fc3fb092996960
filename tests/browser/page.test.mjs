// The page in a browser, over the demo.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { start, until } from './server.mjs';

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];
let server;
let browser;

before(async () => {
  server = await start('demo', '--users-per-second', '3');
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

async function open(path, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  page.problems = [];
  page.on('pageerror', (error) => page.problems.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && page.problems.push(message.text()));
  await page.goto(server.base + path);
  return page;
}

const pause = (paused) => fetch(`${server.base}/api/v1/demo`, {
  method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ paused }),
});

/** What every panel shows, and the tick at which it does. */
const read = (page) => page.evaluate(() => {
  const panels = {};
  for (const node of document.querySelectorAll('[data-panel]')) {
    const id = node.dataset.panel;
    const bars = [...node.querySelectorAll('li[data-value]')].map((bar) => [bar.querySelector('[data-bar]').dataset.bar, Number(bar.dataset.value)]);
    const value = node.querySelector('.stat-value');
    const change = node.querySelector('[data-before]');
    const frame = window.__nowcast.frame(id);
    panels[id] = {
      late: node.querySelector('.badge.late') !== null,
      value: value && Number(value.dataset.value),
      before: change && change.dataset.before === '' ? null : change && Number(change.dataset.before),
      bars,
      rows: frame && frame.rows,
      newest: frame !== null && frame.newest,
    };
  }
  return { now: window.__nowcast.now, panels };
});

const close = (a, b) => Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(a), Math.abs(b));

/** The batch query of a panel: the range written out, relative to the tick. */
function batch(query, fromSeconds, toSeconds) {
  const to = toSeconds === null ? 'true' : `$1 < now() - interval '${toSeconds} seconds'`;
  // No variable is set: the lines that need one are gone, as the server leaves them out.
  const all = query.replace(/^.*\$(country|traffic_source).*$/gm, '');
  return all.replace(/([\w.]+) < \$to/g, to).replaceAll('$from', `now() - interval '${fromSeconds} seconds'`);
}

test('every number and bar is what the same SQL answers at that tick', async () => {
  const page = await open('/d/thelook');
  const stat = page.locator('[data-panel="items"] .stat-value');
  await stat.waitFor();
  const first = await stat.getAttribute('data-value');
  await until(async () => (await stat.getAttribute('data-value')) !== first, 'the number of items moves');
  await pause(true);
  const definition = await (await fetch(`${server.base}/api/v1/dashboards/thelook`)).json();
  const left = new Set(definition.panels.map((panel) => panel.id));
  await until(async () => {
    const seen = await read(page);
    await page.waitForTimeout(80);
    const again = await read(page);
    if (seen.now !== again.now) return false;
    for (const panel of definition.panels.filter((panel) => left.has(panel.id))) {
      const shown = again.panels[panel.id];
      if (!shown || shown.late || JSON.stringify(shown) !== JSON.stringify(seen.panels[panel.id])) continue;
      // What has not arrived yet is compared in a later moment: every panel must be, before the time is up.
      if (!shown.rows || !shown.newest || (panel.chart === 'stat' && (shown.value === null || shown.before === null))) continue;
      const rows = await server.exec(batch(panel.query, 300, null), again.now);
      if (panel.chart === 'stat') {
        assert.ok(close(shown.value, rows[0][0] ?? 0), `${panel.id}: ${shown.value}, batch ${rows[0][0]}`);
        const old = (await server.exec(batch(panel.query, 600, 300), again.now))[0][0];
        assert.ok(close(shown.before ?? 0, old ?? 0), `${panel.id} before: ${shown.before}, batch ${old}`);
      } else if (shown.bars.length > 0) {
        const expected = new Map(rows);
        for (const [name, value] of shown.bars) {
          assert.ok(close(value, expected.get(name) ?? 0), `${panel.id} ${name}: ${value}, batch ${expected.get(name)}`);
          expected.delete(name);
        }
        assert.deepEqual([...expected.keys()], [], `${panel.id} lacks bars`);
      } else {
        assert.equal(shown.rows.length, rows.length, panel.id);
        rows.forEach((row, r) => row.forEach((cell, c) => {
          const drawn = shown.rows[r][c];
          if (typeof cell === 'number') assert.ok(close(drawn, cell), `${panel.id} row ${r}: ${drawn}, batch ${cell}`);
          else if (/^\d{4}-\d\d-\d\dT/.test(cell)) assert.equal(Math.floor(drawn / 1000), Date.parse(cell), panel.id);
          else assert.equal(drawn, cell, panel.id);
        }));
      }
      left.delete(panel.id);
    }
    return left.size === 0;
  }, `panels compared with the batch answer: ${[...left]} are left`, 120);
  assert.deepEqual(page.problems, []);
  await pause(false);
  await page.context().close();
});

test('saving the file changes the open page, and a mistake is shown over the last good state', async () => {
  const page = await open('/d/thelook');
  const file = join(server.data, 'dashboards/thelook.toml');
  const good = await readFile(file, 'utf8');
  await page.getByText('Sales, last 5 minutes').waitFor();
  await writeFile(file, good.replace('Sales, last 5 minutes', 'Turnover, last 5 minutes'));
  await page.getByText('Turnover, last 5 minutes').waitFor();
  await writeFile(file, good.replace('chart = "stat"', 'chrt = "stat"'));
  await page.getByText('thelook.toml').first().waitFor();
  const body = await page.locator('body').innerText();
  assert.match(body, /line \d+/i);
  assert.match(body, /did you mean/i);
  assert.match(body, /Turnover, last 5 minutes/);
  await writeFile(file, good);
  await page.getByText('Sales, last 5 minutes').waitFor();
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("one line of curl makes a table whose page moves", async () => {
  const send = (t) => fetch(`${server.base}/write`, { method: 'POST', body: `weather,city=Bern t=${t}` });
  assert.equal((await send('21.5')).status, 204);
  const page = await open('/t/weather');
  await page.getByText('21.5').first().waitFor();
  assert.equal((await send('22.75')).status, 204);
  await page.getByText('22.75').first().waitFor();
  await page.getByText('T, mean of 5 seconds').waitFor();
  assert.equal(await page.getByText('Try again').count(), 0, 'no panel fails');
  assert.deepEqual(page.problems, []);
  const home = await open('/');
  await home.getByText('weather').first().waitFor();
  await home.getByText('theLook eCommerce').first().waitFor();
  assert.deepEqual(home.problems, []);
  await page.context().close();
  await home.context().close();
});

for (const [name, viewport, colorScheme] of [
  ['wide-light', { width: 1440, height: 900 }, 'light'],
  ['wide-dark', { width: 1440, height: 900 }, 'dark'],
  ['phone-light', { width: 390, height: 844 }, 'light'],
  ['phone-dark', { width: 390, height: 844 }, 'dark'],
]) {
  test(`fits its window: ${name}`, async () => {
    const page = await open('/d/thelook', { viewport, colorScheme });
    await page.locator('[data-panel="latest-orders"] [data-row]').first().waitFor();
    await page.locator('[data-panel="items"] .stat-value').waitFor();
    const { wide, tall } = await page.evaluate(() => ({
      wide: document.documentElement.scrollWidth, tall: document.documentElement.scrollHeight,
    }));
    assert.equal(wide, viewport.width, 'nothing is cut off to the right');
    if (viewport.width === 1440) assert.equal(tall, 900, 'no scrolling at 1440x900');
    if (process.env.PICTURES) await page.screenshot({ path: join(process.env.PICTURES, `${name}.png`) });
    assert.deepEqual(page.problems, []);
    await page.context().close();
  });
}
