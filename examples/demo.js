/**
 * Shows real descriptors move between processes: `npm run demo`.
 *
 * This process opens a log file and accepts a TCP connection. It passes both to a child. Both processes then write to
 * the file, and the child answers the client, a third process, over the connection that this one accepted.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fstatSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FdPasser } from 'fdpasser';

const say = (text) => console.log(`parent  pid ${process.pid}: ${text}`);

/** The number in this process, and device and inode, which are the same in every process that has the file open. */
function shown(fd) {
  const { dev, ino } = fstatSync(fd);
  return `descriptor ${fd}, device:inode ${dev}:${ino}`;
}

const script = (name) => fileURLToPath(new URL(name, import.meta.url));

// A passer, and a child that has its other end as descriptor 3.
const passer = new FdPasser();
const child = spawn(process.execPath, [script('demo-child.js')], {
  stdio: ['ignore', 'inherit', 'inherit', passer.peer.fd],
});
const childEnds = once(child, 'exit');
passer.iAmParent();
say(`started the child, pid ${child.pid}`);

// A file.
const folder = mkdtempSync(join(tmpdir(), 'fdpasser-demo-'));
const path = join(folder, 'log');
const log = openSync(path, 'a+');
writeSync(log, `written by the parent, pid ${process.pid}, before it passed the file\n`);
say(`opened the file ${path}: ${shown(log)}`);

// A connection. It is paused, so that no byte of it is read in this process: that byte would be missing in the child.
const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
await once(server, 'listening');
const client = spawn(process.execPath, [script('demo-client.js'), String(server.address().port)], { stdio: 'inherit' });
const clientEnds = once(client, 'exit');
const [connection] = await once(server, 'connection');
server.close();

const connectionFd = connection._handle.fd; // only to show it: Node documents no way to get it
say(`accepted a connection from port ${connection.remotePort}: ${shown(connectionFd)}`);

await passer.send(log, { keepOpen: true }); // this process goes on writing to it
const connectionCloses = once(connection, 'close');
await passer.send(connection); // this also closes it here; the connection itself lives on in the child
say('sent both to the child');
await connectionCloses;
say(`closed its descriptor ${connectionFd}: the connection is the child's alone`);
await passer.close();

const [[childCode, childSignal], [clientCode, clientSignal]] = await Promise.all([childEnds, clientEnds]);
writeSync(log, `written by the parent, pid ${process.pid}, after the child had ended\n`);
closeSync(log);
say(`the child ended with ${childSignal ?? childCode}, the client with ${clientSignal ?? clientCode}`);
say(`the file now holds:\n${readFileSync(path, 'utf8').replace(/^/gm, '  ').trimEnd()}`);
rmSync(folder, { recursive: true });

if (childCode !== 0 || clientCode !== 0) process.exitCode = 1;
