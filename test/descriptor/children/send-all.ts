/** Sends one of each of Node's own objects that keep a process alive, and has nothing more to do. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { FdPasser } from 'fdpasser';

process.disconnect();
const passer = FdPasser.inherit();
const socket = connect(Number(process.argv[2]), '127.0.0.1').resume().setTimeout(60_000);
const server = createServer().listen(0);
const datagrams = createSocket('udp4').bind(0);
await Promise.all([once(socket, 'connect'), once(server, 'listening'), once(datagrams, 'listening')]);
for (const each of [socket, server, datagrams, await open(process.argv[1]!), createWriteStream('/dev/null')])
  await passer.send(each);
