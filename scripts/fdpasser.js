#!/usr/bin/env node
/** `npx fdpasser build`: compiles the packaged C core for this system, where the package has none that it can load. */
import { spawnSync } from 'node:child_process';

if (process.argv.length !== 3 || process.argv[2] !== 'build') {
  console.error(
    'usage: npx fdpasser build\n\n' +
      'Compiles the C core of the installed fdpasser for this system, with cc or the compiler that CC names.',
  );
  process.exit(2);
}

const { compileHere } = await import('./build-native.js');
try {
  console.log(`Compiled ${compileHere(['-O2'], load)}, and it loads.`);
} catch (error) {
  console.error(reason(error));
  process.exitCode = 1;
}

/** Loads the core in another process, which it may crash. What forbids addons to this one says nothing of the core. */
function load(file) {
  const name = JSON.stringify(file);
  const program = `process.getBuiltinModule('node:module').createRequire(${name})(${name})`;
  const evaluate = 'deno' in process.versions ? 'eval' : '-e';
  const env = { ...process.env, NODE_OPTIONS: '' };
  const { error, status, signal, stderr } = spawnSync(process.execPath, [evaluate, program], { env, encoding: 'utf8' });
  if (status === 0) return;
  const why = error?.message ?? (stderr.trim() || `the process that tried ended with ${signal ?? status}`);
  throw new Error(`It was compiled and does not load, so what was there before stays: ${why}`);
}

function reason(error) {
  const compiler = process.env.CC ?? 'cc';
  if (error.code === 'ENOENT' && error.syscall?.startsWith('spawn'))
    return `There is no C compiler "${compiler}" here. Install one, or name another in CC.`;
  if (error.syscall?.startsWith('spawn')) return `The C compiler "${compiler}" cannot be started: ${error.message}.`;
  if (error.signal) return `${compiler} was killed by ${error.signal}.`;
  if (error.status) return `${compiler} failed; what it says stands above.`;
  return error.message;
}
