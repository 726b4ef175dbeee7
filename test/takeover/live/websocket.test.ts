import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { amount } from '../../support/amount.js';
import { whileStopped, withTwo, type LiveProcess } from '../../support/live.js';
import { until } from '../../support/descriptors.js';
import { Echoed, settledOn } from '../../support/echoed.js';
import { frame, RawWebSocket } from '../../support/raw-websocket.js';
import { isStopped } from '../../support/takeover.js';
import { partly, test, testInFull } from '../../support/test.js';

const CLIENTS = amount(20, 6);

/** The end that the old process's program sees when a WebSocket has moved. */
const MOVED = { ended: 1012, reason: 'moved to another process', pushed: 0 };

/** How the program of a process has seen its WebSockets end. */
function endings({ said }: LiveProcess): object[] {
  return said.filter((each) => 'ended' in each);
}

async function echoing(one: LiveProcess): Promise<Echoed[]> {
  const port = await one.port;
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 20)) * CLIENTS;
  const clients = Array.from({ length: CLIENTS }, (_, i) => new Echoed(port, seed + i));
  await until(() => clients.every(({ answers }) => answers > 10));
  return clients;
}

test('WebSockets of an unmodified program move under load, and each frame arrives once and in order', async () => {
  await withTwo('takeover/live-websocket', async (one, other) => {
    const clients = await echoing(one);
    for (const [from, to] of [
      [one, other],
      [other, one],
      [one, other],
    ] as const) {
      assert.equal(await from.leave(), CLIENTS);
      const before = clients.map(({ answers }) => answers);
      await until(() =>
        clients.every(
          ({ answers, by, errors }, i) => (answers > before[i]! + 10 && by === to.pid) || errors.length > 0,
        ),
      );
      assert.deepEqual(
        clients.flatMap(({ errors }) => errors),
        [],
      );
      await to.has(CLIENTS);
      await from.has(0);
      await until(() => endings(from).length === CLIENTS);
      for (const ending of endings(from)) assert.deepEqual(ending, MOVED);
      from.said.length = 0;
    }
    for (const client of clients) await client.stop();
    for (const { errors, ended, pings, pongs } of clients) {
      assert.deepEqual({ errors, ended }, { errors: [], ended: 1005 });
      assert.equal(pongs, pings);
    }
    await Promise.all([one.close(), other.close()]);
  });
});

testInFull('all WebSockets of a process that ends are broken if none moves', async () => {
  await withTwo('takeover/live-websocket', async (one, other) => {
    const clients = await echoing(one);
    one.child.kill('SIGTERM');
    await until(() => clients.every(({ ended }) => ended === 1006));
    await other.close();
  });
});

for (const milliseconds of [5, 150])
  partly(milliseconds === 5)(
    `a program that answers after ${milliseconds} milliseconds answers every message`,
    async () => {
      await withTwo(
        'takeover/live-websocket',
        async (one, other) => {
          const clients = await echoing(one);
          assert.equal(await one.leave(), CLIENTS);
          assert.equal(await other.leave(), CLIENTS);
          for (const client of clients) await client.stop();
          assert.deepEqual(
            clients.flatMap(({ errors }) => errors),
            [],
          );
          await Promise.all([one.close(), other.close()]);
        },
        { SLOW: String(milliseconds) },
      );
    },
  );

/**
 * A WebSocket on its way to a stopped process: the old program answers what it was asked before, and the client asks
 * again. Resolves with the client, and how many connections have moved when `goesOn` was called and the other woken.
 */
async function askedUnderWay(
  one: LiveProcess,
  other: LiveProcess,
  goesOn: (client: RawWebSocket) => void,
): Promise<[client: RawWebSocket, moved: number]> {
  const client = await new RawWebSocket(await one.port).open();
  client.socket.write(frame(1, 'hold'));
  await one.says('holds');
  let leaving: Promise<number>;
  await whileStopped(other, async () => {
    leaving = one.leave();
    await one.says('departed');
    await one.ask('answer', 'answered');
    client.socket.write(frame(1, 'next'));
    goesOn(client);
  });
  return [client, await leaving!];
}

test('what the old program answers while its WebSocket is under way is there before what the new one answers', async () => {
  await withTwo('takeover/live-websocket', async (one, other) => {
    const [client, moved] = await askedUnderWay(one, other, ({ frames }) => assert.deepEqual(frames, []));
    assert.equal(moved, 1);
    assert.deepEqual(await client.messages(2), [`${one.pid}:hold`, `${other.pid}:next`]);
    client.socket.destroy();
    await Promise.all([one.close(), other.close()]);
  });
});

testInFull(
  'what the old program answers while its WebSocket is under way is there when the other process dies',
  async () => {
    await withTwo('takeover/live-websocket', async (one, other) => {
      const [client, moved] = await askedUnderWay(one, other, () => other.child.kill('SIGKILL'));
      assert.equal(moved, 0);
      assert.deepEqual(await client.messages(2), [`${one.pid}:hold`, `${one.pid}:next`]);
      client.socket.destroy();
      await one.close();
    });
  },
);

testInFull('of a WebSocket in flight nothing is read before the old process knows that it has moved', async () => {
  await withTwo('takeover/live-websocket', async (one, other) => {
    const client = await new RawWebSocket(await one.port).open();
    let leaving: Promise<number>;
    await whileStopped(other, async () => {
      leaving = one.leave();
      await one.says('departed');
      await whileStopped(one, async () => {
        client.socket.write(frame(1, 'next'));
        other.child.kill('SIGCONT');
        assert.equal(await other.connections(), 0); // it has read what came before it was asked
      });
      other.child.kill('SIGSTOP');
    });
    assert.equal(await leaving!, 1);
    assert.deepEqual(await client.messages(1), [`${other.pid}:next`]);
    client.socket.destroy();
    await Promise.all([one.close(), other.close()]);
  });
});

test('a WebSocket in flight goes on in the new process when the old one dies before it has let go', async () => {
  await withTwo('takeover/live-websocket', async (one, other) => {
    const client = await new RawWebSocket(await one.port).open();
    client.socket.write(frame(1, 'first'));
    assert.deepEqual(await client.messages(1), [`${one.pid}:first`]);
    await whileStopped(other, async () => {
      one.child.send('leave');
      await one.says('departed');
      for (let turn = 0; turn < 2; turn++) await one.connections(); // what it had to send is in the kernel
      one.child.kill('SIGKILL');
      await one.ended;
      client.socket.write(frame(1, 'second'));
    });
    assert.deepEqual(await client.messages(1), [`${other.pid}:second`]);
    client.socket.destroy();
    await other.close();
  });
});

testInFull('messages that a program sends before it learns that its WebSocket has moved reach the client', async () => {
  await withTwo('takeover/live-websocket', async (one, other) => {
    const port = await one.port;
    const clients = await Promise.all(Array.from({ length: 10 }, () => new RawWebSocket(port).open()));
    for (const { socket } of clients) socket.write(frame(1, 'push'));
    await until(() => clients.every(({ frames }) => frames.length > 20));
    assert.equal(await one.leave(), 10);
    await until(() => endings(one).length === 10);
    const pushed = endings(one).reduce((sum, each) => sum + (each as { pushed: number }).pushed, 0);
    for (const { socket } of clients) socket.write(frame(1, 'last'));
    await until(() => clients.every(({ frames }) => frames.at(-1)!.payload === `${other.pid}:last`));
    for (const { frames, socket } of clients) {
      assert.deepEqual(
        frames.slice(0, -1).map(({ payload }) => payload),
        Array.from({ length: frames.length - 1 }, (_, i) => String(i)),
      );
      socket.destroy();
    }
    assert.equal(
      clients.reduce((sum, { frames }) => sum + frames.length - 1, 0),
      pushed,
    );
    await Promise.all([one.close(), other.close()]);
  });
});

test('a program that goes on sending while its WebSocket is under way has to wait, and all of it arrives', async () => {
  await withTwo('takeover/live-websocket', async (one, other) => {
    const client = await new RawWebSocket(await one.port).open();
    client.socket.write(frame(1, 'flood'));
    await until(() => client.frames.length > 20);
    const flooded = (): Promise<number> => one.ask('flooded', 'flooded');
    let leaving: Promise<number>;
    let count = 0;
    await whileStopped(other, async () => {
      leaving = one.leave();
      await one.says('departed');
      for (let before = -1; before !== count; count = await flooded()) before = count;
    });
    assert.equal(await leaving!, 1);
    await until(() => endings(one).length === 1);
    count = await flooded();
    client.socket.write(frame(1, 'last'));
    await until(() => client.frames.at(-1)?.payload === `${other.pid}:last`);
    assert.deepEqual(
      client.frames.slice(0, -1).map(({ payload }) => payload.trim()),
      Array.from({ length: count }, (_, i) => String(i)),
    );
    client.socket.destroy();
    await Promise.all([one.close(), other.close()]);
  });
});

test('a message in pieces, some of them already read, with a ping between, arrives once and whole', async () => {
  await withTwo('takeover/live-websocket', async (one, other) => {
    const client = await new RawWebSocket(await one.port).open();
    client.socket.write(Buffer.concat([frame(1, 'first'), frame(1, 'sec', { final: false }), frame(9, 'ping')]));
    assert.deepEqual(await client.messages(2), [`${one.pid}:first`, 'ping']);
    assert.equal(await one.leave(), 1);
    const rest = Buffer.concat([frame(0, 'o', { final: false }), frame(10, 'pong'), frame(0, 'nd'), frame(1, 'third')]);
    for (const byte of rest) client.socket.write(Buffer.of(byte));
    assert.deepEqual(await client.messages(2), [`${other.pid}:second`, `${other.pid}:third`]);
    await until(() => endings(one).length === 1);
    assert.deepEqual(endings(one), [MOVED]);
    client.socket.destroy();
    await Promise.all([one.close(), other.close()]);
  });
});

testInFull('a WebSocket whose client leaves a frame half sent moves in the middle of it', async () => {
  await withTwo('takeover/live-websocket', async (one, other) => {
    const client = await new RawWebSocket(await one.port).open();
    const half = frame(2, Buffer.alloc(100_000, 'h'));
    client.socket.write(Buffer.concat([frame(1, 'begun'), half.subarray(0, 70_000)]));
    assert.deepEqual(await client.messages(1), [`${one.pid}:begun`]);
    assert.equal(await one.leave(), 1);
    client.socket.write(half.subarray(70_000));
    assert.deepEqual(await client.messages(1), [`${other.pid}:${'h'.repeat(100_000)}`]);
    client.socket.destroy();
    await Promise.all([one.close(), other.close()]);
  });
});

testInFull(
  'frames that come right behind the request, and while the WebSocket moves, are answered by one of the processes',
  async () => {
    await withTwo('takeover/live-websocket', async (one, other) => {
      const client = new RawWebSocket(await one.port);
      client.socket.write(frame(1, 'head'));
      await client.open();
      const leaving = one.leave();
      for (let i = 0; i < 200; i++) client.socket.write(frame(1, String(i)));
      assert.equal(await leaving, 1);
      const answers = await client.messages(201);
      assert.deepEqual(
        answers.map((answer) => answer.split(':')[1]),
        ['head', ...Array.from({ length: 200 }, (_, i) => String(i))],
      );
      client.socket.destroy();
      await Promise.all([one.close(), other.close()]);
    });
  },
);

/** Bytes that the buffers of no connection hold. */
const MORE_THAN_BUFFERS = 12 << 20;

const MORE_THAN_MOVE_AT_ONCE = 17;

const DEFLATE = 'permessage-deflate';
const NO_CONTEXT = '; server_no_context_takeover; client_no_context_takeover';

test('a compressed WebSocket with a context is dismissed, and one without moves', async () => {
  await withTwo(
    'takeover/live-websocket',
    async (one, other) => {
      const port = await one.port;
      const stateful = await new RawWebSocket(port, { 'Sec-WebSocket-Extensions': DEFLATE }).open();
      const stateless = await new RawWebSocket(port, { 'Sec-WebSocket-Extensions': DEFLATE + NO_CONTEXT }).open();
      assert.match(stateless.response, /server_no_context_takeover; client_no_context_takeover/);
      const leaving = one.leave();
      assert.equal(await stateful.closed(), 1012);
      assert.equal(await leaving, 1);
      stateless.socket.write(frame(1, 'still'));
      assert.deepEqual(await stateless.messages(1), [`${other.pid}:still`]);
      await until(() => endings(one).length === 2);
      assert.deepEqual(
        endings(one).map((each) => (each as { ended: number }).ended),
        [1012, 1012],
      );
      stateless.socket.destroy();
      await Promise.all([one.close(), other.close()]);
    },
    { DEFLATE: 'true' },
  );
});

testInFull('a program whose connection is taken from under its WebSocket sees it break, and not move', async () => {
  await withTwo('takeover/live-websocket', async (one, other) => {
    const client = await new RawWebSocket(await one.port).open();
    one.child.send('detach');
    await until(() => endings(one).length === 1);
    assert.deepEqual(endings(one), [{ ...MOVED, ended: 1006, reason: '' }]);
    client.socket.destroy();
    await Promise.all([one.close(), other.close()]);
  });
});

testInFull('close() of a server waits for a WebSocket that has come', async () => {
  await withTwo('takeover/live-websocket', async (one, other) => {
    const client = await new RawWebSocket(await one.port).open();
    assert.equal(await one.leave(), 1);
    client.socket.write(frame(1, 'here'));
    assert.deepEqual(await client.messages(1), [`${other.pid}:here`]);
    await other.closeNaively();
    assert.equal(await other.connections(), 1);
    assert.ok(!other.said.some((each) => 'gone' in each));
    client.socket.destroy();
    await other.says('gone');
    await Promise.all([one.close(), other.close()]);
  });
});

testInFull('a client whose request the new program refuses is asked to connect again', async () => {
  await withTwo('takeover/live-websocket', async (one, other) => {
    const client = await new RawWebSocket(await one.port).open();
    await other.ask('refuse', 'refusing');
    assert.equal(await one.leave(), 1);
    assert.equal(await client.closed(), 1012);
    assert.deepEqual(client.frames.length, 1);
    await Promise.all([one.close(), other.close()]);
  });
});

/**
 * A WebSocket that has moved to the second process, whose program has not answered its request yet, and is on its way
 * back to the stopped first one. Then the program decides. Resolves with the client, and how many have moved back.
 */
async function decidedUnderWay(
  one: LiveProcess,
  other: LiveProcess,
  decision: 'accept' | 'reject',
  goesOn = (): void => {},
): Promise<[client: RawWebSocket, moved: number]> {
  const client = await new RawWebSocket(await one.port).open();
  await other.ask('hesitate', 'hesitating');
  assert.equal(await one.leave(), 1);
  await other.says('hesitates');
  let leaving: Promise<number>;
  await whileStopped(one, async () => {
    leaving = other.leave();
    await other.says('departed');
    await other.ask(decision, 'decided');
    client.socket.write(frame(1, 'next'));
    goesOn();
  });
  return [client, await leaving!];
}

for (const decision of ['accept', 'reject'] as const)
  test(`a client reads no answer to the request of its WebSocket that comes while it is under way: ${decision}`, async () => {
    await withTwo('takeover/live-websocket', async (one, other) => {
      const [client, moved] = await decidedUnderWay(one, other, decision);
      assert.equal(moved, 1);
      const messages = [...(decision === 'accept' ? ['welcome'] : []), `${one.pid}:next`];
      assert.deepEqual(await client.messages(messages.length), messages);
      client.socket.destroy();
      await Promise.all([one.close(), other.close()]);
    });
  });

for (const decision of ['accept', 'reject'] as const)
  testInFull(`the same, when the process that it is under way to dies: ${decision}`, async () => {
    await withTwo('takeover/live-websocket', async (one, other) => {
      const [client, moved] = await decidedUnderWay(one, other, decision, () => one.child.kill('SIGKILL'));
      client.socket.on('error', () => {}); // a program that rejects it does not read what it has sent
      assert.equal(moved, 0);
      if (decision === 'accept') assert.deepEqual(await client.messages(2), ['welcome', `${other.pid}:next`]);
      else {
        await until(() => client.frames.length === 1);
        const { opcode, payload } = client.frames[0]!;
        assert.deepEqual([opcode, Buffer.from(payload, 'latin1').readUInt16BE()], [8, 1012]);
      }
      client.socket.destroy();
      await other.close();
    });
  });

test('a WebSocket that its client is closing is left to close', async () => {
  await withTwo('takeover/live-websocket', async (one, other) => {
    const client = await new RawWebSocket(await one.port).open();
    client.socket.write(frame(8, Buffer.of(3, 232)));
    await until(() => client.frames.length === 1);
    assert.equal(await one.leave(), 0);
    assert.equal(await client.closed(), 1000);
    await Promise.all([one.close(), other.close()]);
  });
});

test('the program of the new process sees the request that the WebSocket began with', async () => {
  await withTwo('takeover/live-websocket', async (one, other) => {
    const client = await new RawWebSocket(await one.port).open();
    assert.equal(await one.leave(), 1);
    await until(() => other.said.length === 1);
    assert.deepEqual(other.said, [{ connected: '/raw', host: 'here' }]);
    client.socket.destroy();
    await Promise.all([one.close(), other.close()]);
  });
});

test('WebSockets of a process whose successor dies go on there', async () => {
  await withTwo('takeover/live-websocket', async (one, other) => {
    const clients = await echoing(one);
    const leaving = one.leave();
    other.child.kill('SIGKILL');
    const moved = await leaving;
    const stayed = clients.filter(({ ended }) => ended === undefined);
    await until(
      () =>
        clients.filter(({ ended }) => ended === 1006).length === moved || stayed.every(({ answers }) => answers > 10),
    );
    const left = clients.filter(({ ended }) => ended === undefined);
    const before = left.map(({ answers }) => answers);
    await until(() => left.every(({ answers, ended }, i) => answers > before[i]! + 10 || ended !== undefined));
    assert.deepEqual(
      clients.flatMap(({ errors }) => errors),
      [],
    );
    for (const client of clients) await client.stop();
    assert.equal(clients.filter(({ ended }) => ended === 1006).length, moved);
    await one.close();
  });
});

testInFull('each WebSocket of a process that is killed while they move has moved whole, or ends', async () => {
  await withTwo('takeover/live-websocket', async (one, other) => {
    const clients = await echoing(one);
    one.child.send('leave');
    await until(() => other.said.length >= CLIENTS / 2);
    one.child.kill('SIGKILL');
    await one.ended;
    await until(() => clients.every(({ ended, by }) => ended === 1006 || by === other.pid));
    const moved = clients.filter(({ ended }) => ended === undefined);
    assert.ok(moved.length >= 1);
    await settledOn(other.pid, moved);
    assert.equal(await other.connections(), moved.length);
    for (const client of clients) await client.stop();
    assert.deepEqual(
      clients.flatMap(({ errors }) => errors),
      [],
    );
    await other.close();
  });
});

for (const stopped of ['old', 'new'] as const)
  partly(stopped === 'old')(
    `WebSockets that move while the ${stopped} process is stopped and woken belong to one process each`,
    async () => {
      await withTwo('takeover/live-websocket', async (one, other) => {
        const clients = await echoing(one);
        const { child } = stopped === 'old' ? one : other;
        const leaving = one.leave();
        await until(() => other.said.length >= 3);
        child.kill('SIGSTOP');
        await until(() => isStopped(child.pid!));
        await sleep(200); // the other process goes on alone
        child.kill('SIGCONT');
        assert.equal(await leaving, CLIENTS);
        await settledOn(other.pid, clients);
        await one.has(0);
        await other.has(CLIENTS);
        for (const client of clients) await client.stop();
        for (const { errors, ended } of clients) assert.deepEqual({ errors, ended }, { errors: [], ended: 1005 });
        await Promise.all([one.close(), other.close()]);
      });
    },
  );

testInFull(
  'a client that still waits for the rest of a message after the drain is asked to connect again',
  async () => {
    await withTwo('takeover/live-websocket', async (one, other) => {
      const client = await new RawWebSocket(await one.port).open();
      client.socket.write(frame(1, 'half'));
      await until(() => client.frames.length === 1);
      const leaving = one.leave();
      await one.ask('dismiss all', 'dismissed');
      assert.equal(await client.closed(), 1012);
      assert.equal(await leaving, 0);
      await Promise.all([one.close(), other.close()]);
    });
  },
);

testInFull('WebSockets whose clients do not read keep no other from moving', async () => {
  await withTwo('takeover/live-websocket', async (one, other) => {
    const port = await one.port;
    const long = frame(2, Buffer.alloc(MORE_THAN_BUFFERS));
    const stuck = await Promise.all(
      Array.from({ length: MORE_THAN_MOVE_AT_ONCE }, () => new RawWebSocket(port).open()),
    );
    for (const { socket } of stuck) {
      socket.pause();
      socket.write(long);
    }
    const reader = await new RawWebSocket(port).open();
    await until(() => stuck.every(({ socket }) => socket.writableLength === 0));
    const moved = one.leave();
    const answers = new Set<string>();
    await until(() => {
      reader.socket.write(frame(1, 'who'));
      for (const { payload } of reader.frames.splice(0)) answers.add(payload.split(':')[0]!);
      return answers.has(String(other.pid));
    });
    for (const { socket } of [...stuck, reader]) socket.destroy();
    await moved;
    await Promise.all([one.close(), other.close()]);
  });
});
