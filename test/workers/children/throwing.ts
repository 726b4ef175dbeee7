/** A supervisor whose listeners and `pick` throw. It tells of what was uncaught, and of what its workers do. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { supervise } from 'fdpasser/workers';
import { until } from '../../support/descriptors.js';

const uncaught = new Set<string>();
process.on('uncaughtException', ({ message }) => uncaught.add(message));
const refuse = (what: string): never => {
  throw new Error(what);
};

const workers = supervise(fileURLToPath(new URL('serve.js', import.meta.url)), {
  count: 1,
  pick: () => refuse('pick'),
});
workers.on('worker', ({ state }) => refuse(state));
workers.on('exit', () => refuse('exit'));
workers.on('error', ({ message }) => refuse(`error: ${message}`));
const { port } = await workers.listen({ port: 0, host: '127.0.0.1' });

async function ask(path: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
    .setEncoding('latin1')
    .on('error', () => {});
  socket.end(`GET ${path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n`);
  let answer = '';
  socket.on('data', (text: string) => (answer += text));
  await once(socket, 'close');
  return answer.slice(9, 12);
}

const answers = [await ask('/'), await ask('/die'), await ask('/')];
await workers.reload();
answers.push(await ask('/'));
await workers.close();
await until(() => uncaught.has('exit'));
process.stdout.write(JSON.stringify({ answers, uncaught: [...uncaught].toSorted() }));
