/**
 * Runs worker threads (test/tsan/workers.ts) over each poller with the C core under ThreadSanitizer, then builds the
 * usual core again. Node is not compiled with ThreadSanitizer, so the tool does not see much of the order between
 * Node's threads, and reports about Node itself mean nothing. The tool sees Node's locks and all that the core does. So
 * a report counts if the core itself reads or writes.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileHere } from '../src/cli/compile-core.js';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const logs = join(root, 'build', 'tsan');
const library = execFileSync(process.env.CC ?? 'cc', ['-print-file-name=libtsan.so'], { encoding: 'utf8' }).trim();

/**
 * Whether the core itself made one of the two accesses: it is then the first frame below those of ThreadSanitizer. For
 * a descriptor it must have made both, because the tool does not see that Node opened a number before the core closes
 * it.
 */
function isOurs(report) {
  const ofTheCore = report
    .split('\n\n')
    .filter((part) => /(read|write) of size/i.test(part))
    .map((access) => access.split('\n').find((line) => /^ +#\d/.test(line) && !line.includes('(libtsan.so')))
    .map((frame) => frame?.includes('(fdpasser.node+') ?? false);
  return report.includes('Location is file descriptor') ? ofTheCore.every(Boolean) : ofTheCore.some(Boolean);
}

rmSync(logs, { recursive: true, force: true });
mkdirSync(logs, { recursive: true });
execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', join(root, 'test/tsconfig.json')], { stdio: 'inherit' });
compileHere(['-O1', '-g', '-fno-omit-frame-pointer', '-fsanitize=thread']);
try {
  for (const poller of ['uv', 'thread']) {
    const suppressions = join(root, 'test', 'tsan', 'suppressions.txt');
    const TSAN_OPTIONS = `exitcode=0 log_path=${join(logs, poller)} suppressions=${suppressions}`;
    const { status, signal } = spawnSync(process.execPath, [join(root, 'build/test/tsan/workers.js')], {
      stdio: 'inherit',
      env: { ...process.env, LD_PRELOAD: library, FDPASSER_POLLER: poller, TSAN_OPTIONS },
    });
    console.log(`${status === 0 ? 'ok' : 'not ok'} - workers over the poller ${poller} (${signal ?? status})`);
    if (status !== 0) process.exitCode = 1;
  }
} finally {
  compileHere(['-O2']);
}

const reports = readdirSync(logs)
  .flatMap((name) => readFileSync(join(logs, name), 'utf8').split('=================='))
  .filter((text) => text.includes('WARNING: ThreadSanitizer'));
const ours = reports.filter(isOurs);
for (const text of ours) console.log(text);
console.log(`# ${ours.length} reports of the core, ${reports.length - ours.length} of Node alone`);
if (ours.length > 0) process.exitCode = 1;
