import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { closeIdle } from '#dist/descriptor/node-internals.js';
import { test } from '../support/test.js';

/** More than the kernel takes. */
const BODY = Buffer.alloc(32 << 20);
const REQUEST = 'GET / HTTP/1.1\r\nHost: here\r\n\r\n';

test('a connection whose response was ended and is still being sent is not idle', async () => {
  const server = createServer((_, response) => {
    response.end(BODY);
    closeIdle(server);
    setImmediate(closeIdle, server);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.write(REQUEST);
  let got = 0;
  for await (const bytes of client) {
    got += (bytes as Buffer).length;
    if (got >= BODY.length) break;
  }
  assert.ok(got >= BODY.length, `only ${got} bytes came`);
  server.close();
});
