/** Runs the tests with the C core for systems that cannot peek, then builds the usual core again. */
import { execFileSync, spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const scripts = dirname(fileURLToPath(import.meta.url));
const script = (name) => join(scripts, name);
const env = { ...process.env, FDPASSER_PEEK: 'off' };

execFileSync(process.execPath, [script('build-native.js')], { stdio: 'inherit', env });
try {
  const { status } = spawnSync(process.execPath, [script('test.js'), ...process.argv.slice(2)], {
    stdio: 'inherit',
    env,
  });
  process.exitCode = status ?? 1;
} finally {
  execFileSync(process.execPath, [script('build-native.js')], { stdio: 'inherit' });
}
