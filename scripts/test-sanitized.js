/**
 * Runs the tests with the C core under AddressSanitizer and UndefinedBehaviorSanitizer, then builds the usual core
 * again.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const scripts = dirname(fileURLToPath(import.meta.url));
const script = (name) => join(scripts, name);
const library = execFileSync(process.env.CC ?? 'cc', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim();

execFileSync(process.execPath, [script('build-native.js'), '--sanitize'], { stdio: 'inherit' });
try {
  const { status } = spawnSync(process.execPath, [script('test.js'), ...process.argv.slice(2)], {
    stdio: 'inherit',
    // Node itself never frees all that it allocated. The tests themselves check what this library must not leak.
    env: { ...process.env, PRELOAD: library, ASAN_OPTIONS: 'detect_leaks=0' },
  });
  process.exitCode = status ?? 1;
} finally {
  execFileSync(process.execPath, [script('build-native.js')], { stdio: 'inherit' });
}
