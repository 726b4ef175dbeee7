/**
 * Listens on each given path at the given moment; answers with `'won'` or the code of the error. It runs as a user
 * without rights if argv[2] is `'nobody'`.
 */
import { listen } from 'fdpasser';
import type { Race } from '../../support/race.js';

function race({ path, at }: Race): string {
  while (process.hrtime.bigint() < BigInt(at)); // any other wait ends at different times in two processes
  try {
    winner = listen(path);
    return 'won';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

if (process.argv[2] === 'nobody') {
  process.setgroups!([]);
  process.setgid!(65534);
  process.setuid!(65534);
}

let winner: ReturnType<typeof listen> | undefined;

process.on('message', (told: Race | 'close' | 'end') => {
  if (told === 'end') return process.disconnect();
  if (told === 'close') winner?.close();
  process.send!(told === 'close' ? 'closed' : race(told));
});
