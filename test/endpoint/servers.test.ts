import assert from 'node:assert/strict';
import { on, once } from 'node:events';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { FdPasser } from 'fdpasser';
import { amount } from '../support/amount.js';
import { ended, startChild } from '../support/child.js';
import { withChild } from '../support/connection.js';
import { anonymousFile, inFolder } from '../support/descriptors.js';
import { test, testInFull } from '../support/test.js';

const HANDOVERS = amount(50, 10);

function greet(socket: Socket): void {
  socket.end('parent');
}

/**
 * Hands a server to a child and back while another process keeps connecting. Returns the server that came back last.
 */
async function handOver(first: Server, target: string, connections: number): Promise<Server> {
  let server = first;
  await withChild('endpoint/serve', async (passer) => {
    const connecting = startChild('endpoint/connect-many', { args: [target, String(connections)] });
    const end = ended(connecting);
    const messages = on(connecting, 'message');
    const next = async (): Promise<unknown> => ((await messages.next()).value as unknown[])[0];
    for (let i = 0; i < HANDOVERS; i += 2) {
      assert.equal(await next(), 'progress');
      const closed = once(server, 'close');
      await passer.send(server);
      await closed;
      assert.equal(await next(), 'progress');
      passer.pushSendFh(anonymousFile());
      server = (await passer.receive()).toServer(greet);
    }
    let result = await next();
    while (result === 'progress') result = await next();
    const { answers, failures } = result as { answers: Record<string, number>; failures: string[] };
    assert.deepEqual(failures, []);
    assert.deepEqual(Object.keys(answers).toSorted(), ['child', 'parent']);
    assert.equal(answers.child! + answers.parent!, connections);
    const { code, signal } = await end;
    assert.deepEqual({ code, signal }, { code: 0, signal: null });
  });
  return server;
}

test('no connection is refused while a TCP server is handed back and forth', async () => {
  const server = createServer(greet).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const last = await handOver(server, String(port), amount(10_000, 1500));
  last.close();
  await once(last, 'close');
});

testInFull('no connection is refused while a Unix server is handed back and forth, and its path stays', async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/socket`;
    const server = createServer(greet).listen(path);
    await once(server, 'listening');
    const { ino } = statSync(path);
    const last = await handOver(server, path, amount(6000, 1000));
    last.close();
    await once(last, 'close');
    assert.equal(statSync(path).ino, ino);
    assert.deepEqual(readdirSync(folder), ['socket']);
  });
});

test('connections that a server accepted before go on after it is sent', async () => {
  await withChild('endpoint/serve', async (passer) => {
    const server = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const client = connect(port, '127.0.0.1');
    await once(server, 'connection');
    const closed = once(server, 'close');
    await passer.send(server);
    assert.equal(server.listening, false);
    client.end('still here');
    assert.equal((await client.toArray()).join(''), 'still here');
    await closed;
  });
});

test('a server that was not sent accepts as before', async () => {
  await inFolder(async (folder) => {
    const server = createServer(greet).listen(`${folder}/socket`);
    await once(server, 'listening');
    const passer = new FdPasser();
    const sending = passer.send(server);
    passer.destroy();
    await assert.rejects(sending, { code: 'ERR_FDPASSER_CLOSED' });
    assert.equal((await connect(`${folder}/socket`).toArray()).join(''), 'parent');
    server.close();
    await once(server, 'close');
    assert.equal(existsSync(`${folder}/socket`), false);
  });
});
