#!/usr/bin/env node
/** `npx fdpasser build`: compiles the packaged C core for this system, where the package has none that it can load. */
import { rmSync } from 'node:fs';

if (process.argv.length !== 3 || process.argv[2] !== 'build') {
  console.error(
    'usage: npx fdpasser build\n\n' +
      'Compiles the C core of the installed fdpasser for this system, with cc or the compiler that CC names.',
  );
  process.exit(2);
}

const { compileHere } = await import('./build-native.js');
try {
  const file = compileHere(['-O2']);
  try {
    await import('../dist/bundle/index.js');
  } catch (error) {
    rmSync(file); // it would stand before one of the package's that may work
    throw error;
  }
  console.log(`Compiled ${file}, and it loads.`);
} catch (error) {
  console.error(reason(error));
  process.exitCode = 1;
}

function reason(error) {
  const compiler = process.env.CC ?? 'cc';
  if (error.code === 'ENOENT' && error.syscall?.startsWith('spawn'))
    return `There is no C compiler "${compiler}" here. Install one, or name another in CC.`;
  if (error.status) return `${compiler} failed; what it says stands above.`;
  return error.message;
}
