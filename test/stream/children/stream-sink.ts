/** Reads the stream that it inherits in pieces of random sizes, and reports what it found. */
import { createHash, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { FdStream, type OwnedFd } from 'fdpasser';
import { identity } from '../../support/descriptors.js';

export interface Sunk {
  size: number;
  sha256: string;
  /** Which files came, and how many bytes had been read before each. */
  ids: string[];
  at: number[];
}

const stream = new FdStream(3);
const hash = createHash('sha256');
const sunk: Sunk = { size: 0, sha256: '', ids: [], at: [] };
stream.on('fds', (fds: OwnedFd[]) => {
  for (const fd of fds) {
    sunk.ids.push(identity(fd.fd));
    sunk.at.push(sunk.size);
    fd.close();
  }
});
stream.on('readable', () => {
  for (;;) {
    const piece = stream.read(randomInt(1, 65_536)) as Buffer | null;
    if (piece === null) return;
    hash.update(piece);
    sunk.size += piece.length;
  }
});
await once(stream, 'end');
sunk.sha256 = hash.digest('hex');
process.send!(sunk, () => process.disconnect());
