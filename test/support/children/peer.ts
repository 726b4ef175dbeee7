/** The other end of a passer. Does what its parent says, and answers each command with the identities it concerned. */
import { FdPasser } from 'fdpasser';
import { anonymousFile, identity } from '../descriptors.js';
import { receiveFiles } from '../passing.js';
import type { Command } from '../peer.js';

const passer = FdPasser.inherit();

async function obey({ verb, count = 0 }: Command): Promise<string[]> {
  if (verb === 'receive') return receiveFiles(passer, count);
  if (verb === 'send') return Promise.all(Array.from({ length: count }, sendFile));
  await passer.close();
  return [];
}

/** Resolves when the kernel has it. */
async function sendFile(): Promise<string> {
  const fd = anonymousFile();
  const file = identity(fd);
  await passer.send(fd);
  return file;
}

process.on('message', (command: Command) => {
  void obey(command).then((files) => {
    process.send!(files);
    if (command.verb === 'close') process.disconnect();
  });
});
