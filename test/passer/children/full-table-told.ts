/**
 * Receives with so few free slots that there is no room for what comes, and reports the warnings. Then it makes room
 * and receives. It gets nothing of what can never come.
 */
import { closeSync } from 'node:fs';
import { once } from 'node:events';
import { FdChannel, FdPasser, FdStream, listen, type OwnedFd } from 'fdpasser';
import { fillTable } from '../../support/fill-table.js';
import { turns } from '../../support/passing.js';

export type Scene = 'passer' | 'channel' | 'stream' | 'passer without room' | 'listener' | 'server';
export interface Told {
  warnings: { name: string; message: string }[];
  received: number;
}

const [scene, free, count, path] = process.argv.slice(2) as [Scene, string, string, string];
const told: Told = { warnings: [], received: 0 };
process.on('warning', ({ name, message }) => told.warnings.push({ name, message }));

function close(fds: OwnedFd[]): void {
  told.received += fds.length;
  for (const fd of fds) fd.close();
}

const receive: Record<Scene, () => Promise<unknown>> = {
  passer: async () => {
    const passer = FdPasser.inherit();
    for (let i = 0; i < Number(count); i++) close([await passer.receive()]);
  },
  'passer without room': () => receive.passer(),
  listener: async () => {
    const passer = FdPasser.inherit();
    passer.on('exhausted', () => setTimeout(makeRoom, 20));
    for (let i = 0; i < Number(count); i++) close([await passer.receive()]);
  },
  channel: async () => close((await FdChannel.inherit().receive()).fds),
  stream: async () => {
    const stream = new FdStream(3);
    const came = once(stream, 'fds');
    stream.resume();
    close((await came)[0] as OwnedFd[]);
    stream.destroy();
  },
  server: async () => {
    const server = listen(path);
    const connected = once(process, 'message');
    process.send!('listens');
    await connected;
    filler.push(...fillTable());
    close([await server.accept()]);
    server.close();
  },
};

const filler: number[] = [];

function makeRoom(): void {
  for (const fd of filler.splice(0)) closeSync(fd);
}

if (scene !== 'server') {
  filler.push(...fillTable());
  for (const fd of filler.splice(0, scene === 'passer without room' ? 0 : Number(free))) closeSync(fd);
}
const warned = (): Promise<unknown> => once(process, 'warning');
const done = receive[scene]();
await Promise.race([done, warned()]);
await turns();
makeRoom();
if (!told.warnings.some(({ message }) => message.includes('never'))) await Promise.race([done, warned()]);
process.send!(told, () => process.exit());
