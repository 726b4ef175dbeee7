/** The child of demo.js: receives a file and a connection, writes to the file and answers on the connection. */
import { once } from 'node:events';
import { fstatSync, writeSync } from 'node:fs';
import { FdPasser } from 'fdpasser';

const say = (text) => console.log(`child   pid ${process.pid}: ${text}`);

function shown({ fd, kind }) {
  const { dev, ino } = fstatSync(fd);
  return `descriptor ${fd}, device:inode ${dev}:${ino}, kind ${kind}`;
}

const passer = FdPasser.inherit(); // what the parent named in stdio is descriptor 3 here

const log = await passer.receive();
say(`received the file as ${shown(log)}`);
writeSync(log.fd, `written by the child, pid ${process.pid}, which never opened the file\n`);
log.close();

const received = await passer.receive();
say(`received the connection as ${shown(received)}`);
const connection = received.toSocket(); // which closes it from now on
connection.end(`answered by the child, pid ${process.pid}, which never accepted a connection`);
await once(connection.resume(), 'close');

await passer.close();
