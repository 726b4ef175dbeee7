/**
 * Analyses the C core with clang and gcc, over each interface. Each finding is an error.
 *
 * npm run check:analyze
 */
import { spawnSync } from 'node:child_process';
import { common, sources, transportSources, warnings } from '../src/cli/compile-core.js';
import { INTERFACES } from './contract-interfaces.js';

const ANALYSERS = [
  ['clang', '--analyze', '-Xclang', '-analyzer-werror', '-Xclang', '-analyzer-output=text'],
  ['gcc', '-fanalyzer', '-Werror', '-O1', '-S'],
];

/** Interfaces differ only in the transport. */
function sourcesOf({ name, transport }) {
  return name === 'bsd44' ? sources(transport) : transportSources(transport);
}

let runs = 0;
for (const each of INTERFACES)
  for (const source of sourcesOf(each))
    for (const [command, ...analyse] of ANALYSERS) {
      const flags = [...common, ...warnings, ...each.transport.flags, ...each.flags, ...(each.only ?? [])];
      const everything = [...analyse, ...flags, '-o', '/dev/null', source];
      const { status, error } = spawnSync(command, everything, { stdio: 'inherit' });
      if (error) throw error;
      if (status !== 0) process.exitCode = 1;
      runs++;
    }
console.log(`${runs} analyses`);
