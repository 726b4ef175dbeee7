/**
 * Has the C core analysed by clang and by gcc, with each interface. What they find is an error.
 *
 *   npm run check:analyze
 */
import { spawnSync } from 'node:child_process';
import { sep } from 'node:path';
import { common, sources, warnings } from '../src/cli/compile-core.js';
import { INTERFACES } from './contract-interfaces.js';

const ANALYSERS = [
  ['clang', '--analyze', '-Xclang', '-analyzer-werror', '-Xclang', '-analyzer-output=text'],
  ['gcc', '-fanalyzer', '-Werror', '-O1', '-S'],
];

/** Only the transport is another with another interface. */
function sourcesOf(name) {
  return name === 'bsd44' ? sources : sources.filter((source) => source.includes(`${sep}transport${sep}`));
}

let runs = 0;
for (const { name, flags, only = [] } of INTERFACES)
  for (const source of sourcesOf(name))
    for (const [command, ...analyse] of ANALYSERS) {
      const everything = [...analyse, ...common, ...warnings, ...flags, ...only, '-o', '/dev/null', source];
      const { status, error } = spawnSync(command, everything, { stdio: 'inherit' });
      if (error) throw error;
      if (status !== 0) process.exitCode = 1;
      runs++;
    }
console.log(`${runs} analyses`);
