// A real `nowcast` over a fresh directory, on free ports.

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const BINARY = process.env.NOWCAST_BIN ?? 'nowcast';

export async function start(command, ...flags) {
  const data = await mkdtemp(join(tmpdir(), 'nowcast-browser-'));
  const ports = ['--http', '127.0.0.1:0', '--ilp', '127.0.0.1:0', '--pg', '127.0.0.1:0'];
  const child = spawn(BINARY, [command, '--data', data, ...ports, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk) => { errors += chunk; });
  let banner = '';
  await new Promise((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      banner += chunk;
      if (banner.includes('Ctrl-C')) resolve();
    });
    child.on('exit', (code) => reject(new Error(`nowcast ended with ${code}: ${errors}`)));
  });
  const base = /page\s+(http:\/\/[\d.:]+)/.exec(banner)[1];
  const pgPort = Number(/postgresql:\/\/\w+@[\d.]+:(\d+)/.exec(banner)[1]);
  const exec = async (query, now) => {
    const form = new URLSearchParams({ query, ...(now === undefined ? {} : { now: String(now) }) });
    const response = await fetch(`${base}/exec`, { method: 'POST', body: form });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${query}: ${answer.error}`);
    return answer.dataset;
  };
  const stop = async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.removeAllListeners('exit');
    child.once('exit', () => {});
    child.kill('SIGTERM');
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 6000))]);
    child.kill('SIGKILL');
    await rm(data, { recursive: true, force: true });
  };
  return { base, data, pgPort, exec, stop };
}

/** Waits until `check` gives something true, and gives it. */
export async function until(check, what, seconds = 60) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (Date.now() > end) throw new Error(`gave up after ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
