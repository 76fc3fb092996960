// Prints what the build weighs, compressed, and fails when a dashboard needs more script than allowed.
import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const SCRIPT_BYTES_MAX = 350 * 1024;
const folder = new URL('../dist/assets/', import.meta.url);
let scripts = 0;
for (const name of readdirSync(folder).sort()) {
  if (!/\.(js|css)$/.test(name)) continue;
  const bytes = gzipSync(readFileSync(new URL(name, folder)), { level: 9 }).length;
  if (name.endsWith('.js')) scripts += bytes;
  console.log(`${(bytes / 1024).toFixed(1).padStart(8)} KiB gzip  ${name}`);
}
console.log(`${(scripts / 1024).toFixed(1).padStart(8)} KiB gzip  all scripts, at most ${SCRIPT_BYTES_MAX / 1024}`);
if (scripts > SCRIPT_BYTES_MAX) process.exit(1);
