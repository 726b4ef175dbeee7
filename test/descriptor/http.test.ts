import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, createServer, get, type IncomingMessage, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { FdPasser } from 'fdpasser';
import { withChild } from '../support/connection.js';
import { until } from '../support/descriptors.js';
import { test } from '../support/test.js';

/** Runs `body` with an HTTP server and a client that keeps one connection. */
async function withServer(
  body: (request: (path: string) => Promise<string>, server: Server, port: number) => Promise<void>,
): Promise<void> {
  const server = createServer((request, response) => response.end(`parent:${request.url}`)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const request = async (path: string): Promise<string> => {
    const [response] = (await once(get({ port, host: '127.0.0.1', path, agent }), 'response')) as [IncomingMessage];
    return text(response);
  };
  try {
    await body(request, server, port);
  } finally {
    agent.destroy();
    server.close().closeAllConnections();
  }
}

test('an idle connection serves its next request in the process that it is sent to', async () => {
  await withChild('descriptor/http', async (passer) => {
    await withServer(async (request, server) => {
      let connections = 0;
      let socket: Socket | undefined;
      server.on('connection', (accepted: Socket) => {
        connections++;
        socket = accepted;
      });
      assert.equal(await request('/1'), 'parent:/1');
      await passer.send(socket!);
      assert.equal(await request('/2'), 'child:/2');
      assert.equal(await request('/3'), 'child:/3');
      assert.equal(connections, 1);
    });
  });
});

test('a connection without a request yet serves the first in the process that it is sent to', async () => {
  await withChild('descriptor/http', async (passer) => {
    await withServer(async (_request, server, port) => {
      const client = connect(port, '127.0.0.1');
      const [accepted] = (await once(server, 'connection')) as [Socket];
      await passer.send(accepted);
      client.write('GET /first HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n');
      assert.match(await text(client), /child:\/first/);
    });
  });
});

test('idle connections go on when their server is sent', async () => {
  await withChild('endpoint/serve', async (passer) => {
    await withServer(async (request, server) => {
      assert.equal(await request('/1'), 'parent:/1');
      await passer.send(server);
      assert.equal(await request('/2'), 'parent:/2');
    });
  });
});

test('an idle connection that was not sent serves its next request as before', async () => {
  await withServer(async (request, server) => {
    const passer = new FdPasser();
    const accepting = once(server, 'connection') as Promise<[Socket]>;
    assert.equal(await request('/1'), 'parent:/1');
    const [socket] = await accepting;
    const sending = passer.send(socket);
    const second = request('/2');
    passer.destroy();
    await assert.rejects(sending, { code: 'ERR_FDPASSER_CLOSED' });
    assert.equal(await second, 'parent:/2');
    assert.equal(await request('/3'), 'parent:/3');
  });
});

test('a connection in the middle of a request is refused, and the request is answered', async () => {
  await withServer(async (_request, server, port) => {
    const passer = new FdPasser();
    const client = connect(port, '127.0.0.1');
    const [accepted] = (await once(server, 'connection')) as [Socket];
    client.write('GET /split HTTP/1.1\r\nHost: here\r\n');
    await until(() => accepted.bytesRead > 0);
    await assert.rejects(passer.send(accepted), { code: 'ERR_FDPASSER_HTTP_BUSY' });
    client.write('Connection: close\r\n\r\n');
    assert.match(await text(client), /parent:\/split/);
    await passer.close();
  });
});
