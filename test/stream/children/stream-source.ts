/**
 * Writes the given number of chunks of the given size, each with a file; reports the files; and stays until it is
 * killed.
 */
import { randomBytes } from 'node:crypto';
import { FdStream } from 'fdpasser';
import { anonymousFile, identity } from '../../support/descriptors.js';

const [chunks, size] = process.argv.slice(2).map(Number) as [number, number];
const stream = new FdStream(3);
const ids: string[] = [];
for (let i = 0; i < chunks; i++) {
  const file = anonymousFile();
  ids.push(identity(file));
  await new Promise((sent) => stream.writeWithFds(randomBytes(size), [file], {}, sent));
}
process.on('message', () => {}); // the channel keeps it alive
process.send!(ids);
