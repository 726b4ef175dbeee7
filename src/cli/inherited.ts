/** Tells descriptors that the shell gave to this process from those that Node opened for itself. */
import { constants, fstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { Failure } from './command.js';

const { O_RDONLY, O_WRONLY } = constants;
const O_ACCMODE = 3;

/** Throws when `fd` is not open, or did not come from the shell, as far as this system tells. */
export function checkInherited(fd: number): void {
  try {
    fstatSync(fd);
  } catch {
    throw notGiven(fd);
  }
  if (process.platform === 'linux' && fd > 2 && isNodes(fd)) throw notGiven(fd);
}

/**
 * Node itself opens descriptors of its event loop, pipes with both ends in this process, and /dev/null. With /dev/null
 * it does not matter who opened it.
 */
function isNodes(fd: number): boolean {
  const link = readlinkSync(`/proc/self/fd/${fd}`);
  if (!link.startsWith('pipe:')) return link.startsWith('anon_inode:');
  const ends = readdirSync('/proc/self/fd').map((other) => endOf(other, link));
  return ends.includes(O_RDONLY) && ends.includes(O_WRONLY);
}

/** How a descriptor of the pipe `link` is open; undefined for anything else. */
function endOf(fd: string, link: string): number | undefined {
  try {
    if (readlinkSync(`/proc/self/fd/${fd}`) !== link) return undefined;
    const [, flags] = /^flags:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))!;
    return parseInt(flags!, 8) & O_ACCMODE;
  } catch {
    return undefined; // it was the one that listed the others
  }
}

function notGiven(fd: number): Failure {
  const npx = fd > 2 ? '. npx passes only 0, 1 and 2: run node_modules/.bin/fdpasser for others' : '';
  return new Failure(`The shell gave no descriptor ${fd}${npx}`);
}
