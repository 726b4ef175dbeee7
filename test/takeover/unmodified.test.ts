import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { amount, isLong } from '../support/amount.js';
import type { Ended } from '../support/child.js';
import { freePort } from '../support/connection.js';
import { Crowd, type CrowdOptions } from '../support/crowd.js';
import { inFolder, until } from '../support/descriptors.js';
import { withPrograms, type Program } from '../support/programs.js';
import { partly, test, testInFull } from '../support/test.js';
import { WebSocket } from '../support/ws.js';

const KEEP_ALIVE = amount(16, 4, 64);
const WEB_SOCKETS = amount(10, 3, 50);
/** Milliseconds that an old process of the controls has to end, as under a service manager; less than a body takes. */
const GRACE = 300;

/** More bytes than the buffers of a connection hold. */
const MORE_THAN_BUFFERS = 1 << 25;

interface Scene {
  program: string;
  /** Whether it listens at a path, and not at a port. */
  atPath?: boolean;
  crowd?: Omit<CrowdOptions, 'where'>;
}

/** Clients of every kind that an HTTP server can have. */
const EVERYBODY = { keepAlive: KEEP_ALIVE, webSockets: WEB_SOCKETS, bodies: true };

/** Replaces a program `times` times under load, and resolves with what the clients saw. */
async function upgraded({ program, atPath = false, crowd = EVERYBODY }: Scene, upgrades: number): Promise<Crowd> {
  let seen!: Crowd;
  await inFolder((folder) =>
    withPrograms(async (start) => {
      const where = atPath ? { path: join(folder, 'path') } : { host: '127.0.0.1', port: await freePort() };
      const options = { where, control: join(folder, 'control') };
      let old = start(program, options);
      await old.says('listens');
      seen = new Crowd({ ...crowd, where });
      try {
        await seen.begins();
        for (let upgrade = 0; upgrade < upgrades; upgrade++) {
          const heir = start(program, options);
          await heir.says('listens');
          await seen.goesOn();
          const end = await old.drained();
          assert.deepEqual([end.code, end.signal, end.stderr], [0, null, '']);
          checkWebSockets(end, old, seen);
          old = heir;
        }
      } finally {
        await seen.stop();
      }
    }),
  );
  const { answers, bodies, frames, connections, asked, untouched } = seen;
  if (isLong) console.log(program, { upgrades, answers, bodies, frames, connections, asked, untouched });
  return seen;
}

/**
 * Every frame that the old program has sent has come, and its WebSockets have ended with the code of a move. For those
 * that do not move, frames after the close frame are left out.
 */
function checkWebSockets({ stdout }: Ended, { pid }: Program, { webSockets, asked }: Crowd): void {
  const lines = stdout.split('\n').filter((line) => line.startsWith('{'));
  assert.equal(lines.length, webSockets.length);
  for (const line of lines) {
    const { client, code, sent } = JSON.parse(line) as { client: string; code: number; sent: number };
    assert.equal(code, 1012);
    const came = webSockets[Number(client.slice(1))]!.counted.get(`${pid}`) ?? 0;
    assert.ok(asked === 0 ? came === sent : came <= sent, `${came} of ${sent} frames came`);
  }
}

/** The control: the old one closes its server and may take a while to end; then the new one is started. */
async function restarted({ program, atPath = false, crowd = EVERYBODY }: Scene): Promise<Crowd> {
  let seen!: Crowd;
  await inFolder((folder) =>
    withPrograms(async (start) => {
      const where = atPath ? { path: join(folder, 'path') } : { host: '127.0.0.1', port: await freePort() };
      const old = start(program, { where });
      await old.says('listens');
      seen = new Crowd({ ...crowd, where });
      try {
        await seen.begins();
        old.child.kill();
        await old.says('closes');
        await Promise.race([old.end, sleep(GRACE)]);
        old.child.kill('SIGKILL');
        await old.end;
        await start(program, { where }).says('listens');
        await seen.goesOn();
      } finally {
        await seen.stop();
      }
    }),
  );
  return seen;
}

function assertSaw(seen: Crowd, ...what: string[]): void {
  const kinds = new Set(seen.errors.map((error) => error.split(':')[0]));
  for (const word of what) assert.ok(kinds.has(word), `no error of ${word}`);
}

/** With an upgrade each, and with so many in full. */
const PROGRAMS: [string, number][] = [
  ['express.mjs', amount(5, 1, 100)],
  ['fastify.cjs', amount(2, 1, 20)],
  ['koa.mjs', amount(2, 1, 20)],
  ['http.cjs', amount(2, 1, 20)],
  ['http.mjs', amount(2, 1, 20)],
];

for (const [program, upgrades] of PROGRAMS) {
  partly(program === 'express.mjs')(
    `clients of an unmodified ${program} with ws notice none of its upgrades`,
    async () => {
      const seen = await upgraded({ program }, upgrades);
      assert.deepEqual(seen.errors, []);
      assert.equal(seen.asked, 0);
      assert.equal(seen.connections, KEEP_ALIVE + WEB_SOCKETS);
    },
  );

  if (isLong || program === 'express.mjs')
    test(`clients of ${program} notice that it closes its server and is started again`, async () => {
      const seen = await restarted({ program });
      assert.ok(seen.connections > KEEP_ALIVE + WEB_SOCKETS);
      assertSaw(seen, 'ask', 'download', 'upload', 'WebSocket');
    });
}

testInFull('clients of a Unix path notice none of the upgrades', async () => {
  const seen = await upgraded({ program: 'http.mjs', atPath: true }, amount(2, 1, 100));
  assert.deepEqual(seen.errors, []);
  assert.equal(seen.asked, 0);
  assert.equal(seen.connections, KEEP_ALIVE + WEB_SOCKETS);
});

/**
 * Clients whose connections cannot move are asked to connect again: once for each upgrade, or twice if they came
 * meanwhile.
 */
function assertAsked({ connections, asked }: Crowd, clients: number, upgrades: number): void {
  assert.ok(asked >= clients * upgrades, `${asked} were asked`);
  assert.equal(connections, clients + asked);
}

test('clients of https are asked to connect again, each by its next response, and see no error', async () => {
  const upgrades = amount(2, 1, 100);
  const seen = await upgraded({ program: 'https.cjs', crowd: { ...EVERYBODY, protocol: 'https' } }, upgrades);
  assert.deepEqual(seen.errors, []);
  assertAsked(seen, KEEP_ALIVE + WEB_SOCKETS, upgrades);
});

testInFull(
  'a WebSocket over TLS that is written to while its program is replaced gets the rest, and then the code 1012',
  () =>
    inFolder((folder) =>
      withPrograms(async (start) => {
        const where = { host: '127.0.0.1', port: await freePort() };
        const options = { where, control: join(folder, 'control') };
        const old = start('https.cjs', options);
        await old.says('listens');
        const webSocket = new WebSocket(`wss://127.0.0.1:${where.port}`, {
          perMessageDeflate: false,
          rejectUnauthorized: false,
        });
        const [[{ socket }]] = (await Promise.all([once(webSocket, 'upgrade'), once(webSocket, 'open')])) as [
          [IncomingMessage],
          unknown,
        ];
        let echoed = 0;
        webSocket.on('message', (data) => (echoed = Math.max(echoed, data.length)));
        webSocket.send(Buffer.alloc(MORE_THAN_BUFFERS));
        await until(() => socket.bytesRead > 1 << 16);
        webSocket.pause();
        await start('https.cjs', options).says('listens');
        webSocket.resume();
        const [code] = (await once(webSocket, 'close')) as [number];
        assert.equal(code, 1012);
        assert.equal(echoed, MORE_THAN_BUFFERS + 'echo '.length);
        const { signal, stderr } = await old.drained();
        assert.deepEqual([signal, stderr], [null, '']);
      }),
    ),
);

test('clients of http2 are asked to connect again, and see errors only of requests that may be sent again', async () => {
  const upgrades = amount(2, 1, 100);
  const crowd = { protocol: 'http2', keepAlive: KEEP_ALIVE } as const;
  const seen = await upgraded({ program: 'http2.mjs', crowd }, upgrades);
  assert.deepEqual(seen.errors, []);
  assertAsked(seen, KEEP_ALIVE, upgrades);
});

test('each datagram that clients send is answered once while the program is replaced', async () => {
  const seen = await upgraded({ program: 'udp.cjs', crowd: { protocol: 'udp', keepAlive: 4 } }, amount(5, 2, 100));
  assert.deepEqual(seen.errors, []);
});

const CONTROLS: [string, Scene][] = [
  ['a Unix path', { program: 'http.mjs', atPath: true }],
  ['https', { program: 'https.cjs', crowd: { ...EVERYBODY, protocol: 'https' } }],
  ['http2', { program: 'http2.mjs', crowd: { protocol: 'http2', keepAlive: KEEP_ALIVE } }],
  ['datagrams', { program: 'udp.cjs', crowd: { protocol: 'udp', keepAlive: 4 } }],
];

for (const [what, scene] of CONTROLS)
  testInFull(`clients of ${what} notice that a program closes it and is started again`, async () => {
    assertSaw(await restarted(scene), 'ask');
  });
