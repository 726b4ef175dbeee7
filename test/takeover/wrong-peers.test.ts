import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import net from 'node:net';
import { FdChannel, OwnedFd, socketpair, type Message } from 'fdpasser';
import { amount } from '../support/amount.js';
import { leaveOut, needs } from '../support/needs.js';
import { ask, onSite, type ServerChild, type ServerConfig, type Site } from '../support/takeover.js';
import { test, testInFull } from '../support/test.js';

const STEP = amount(4000, 1500);
const OPTIONS = { probation: 50, stepTimeout: STEP, initTimeout: STEP };
const NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];

/** Runs `body` with a process that serves under load, which nothing disturbs, and which can be replaced afterwards. */
async function undisturbed(
  config: Partial<ServerConfig>,
  body: (site: Site, old: ServerChild) => Promise<void>,
): Promise<void> {
  await onSite(async (site) => {
    const { port, start, load } = site;
    const old = start({ options: OPTIONS, ...config });
    await old.tells('serving');
    const clients = load();
    await clients.answers(5);
    await body(site, old);
    await clients.answers(5);
    assert.equal(await ask({ port }), `${old.pid}`);
    assert.equal(old.over, undefined);
    const heir = start({ options: OPTIONS });
    await heir.tells('serving');
    assert.equal((await old.end).code, 0);
    await clients.stop();
    assert.deepEqual(clients.errors, []);
  });
}

/** Leaves a test out where this process may not act for another user. Opens the folder to that one. */
function asNobody({ folder }: Site): void {
  chmodSync(folder, 0o755);
}

function needsRoot(): void {
  needs('setpriv');
  if (process.geteuid!() !== 0) leaveOut('root');
}

test('another user cannot dial where the path is open to its own user alone', async () => {
  needsRoot();
  await undisturbed({}, async (site) => {
    asNobody(site);
    const other = site.start({ options: OPTIONS }, undefined, NOBODY);
    assert.equal((await other.tells('failed')).code, 'EACCES');
    assert.equal((await other.end).code, 1);
  });
});

test('another user that allow does not let in is refused before it gets anything', async () => {
  needsRoot();
  await undisturbed({ allow: 'own' }, async (site, old) => {
    asNobody(site);
    const other = site.start({ options: OPTIONS, allow: 'all' }, undefined, NOBODY);
    const { code, step } = await other.tells('failed');
    assert.deepEqual([code, step], ['ERR_FDPASSER_GONE', 'MANIFEST']);
    assert.equal((await other.end).code, 1);
    assert.equal(old.told('rollback'), undefined);
  });
});

test('a process does not take over from another user that its allow does not let in', async () => {
  needsRoot();
  await undisturbed({ allow: 'all' }, async (site, old) => {
    asNobody(site);
    const other = site.start({ options: OPTIONS, allow: 'own' }, undefined, NOBODY);
    const { code, message } = await other.tells('failed');
    assert.equal(code, 'EACCES');
    assert.match(message!, new RegExp(`Process ${old.pid} of user 0 serves there`));
    assert.equal((await other.end).code, 1);
  });
});

test('another user takes over where the allow of both lets it', async () => {
  needsRoot();
  await onSite(async (site) => {
    asNobody(site);
    const old = site.start({ options: OPTIONS, allow: 'all' });
    await old.tells('serving');
    const other = site.start({ options: OPTIONS, allow: 'all' }, undefined, NOBODY);
    await other.tells('serving');
    assert.equal((await old.end).code, 0);
    assert.equal(await ask({ port: site.port }), `${other.pid}`);
  });
});

type Channel = FdChannel<unknown, { type: string }>;

async function next(channel: Channel): Promise<string> {
  const { value, fds }: Message<{ type: string }> = await channel.receive();
  OwnedFd.closeAll(fds);
  return value.type;
}

const HELLO = { type: 'hello', version: 1, pid: process.pid };

/** What a peer does that is none; then it is ended, within `stepTimeout`. */
const WRONG: Record<string, (channel: Channel) => unknown> = {
  'speaks another version': async (channel) => {
    void channel.send({ ...HELLO, version: 2 });
    assert.equal(await next(channel), 'refused');
  },
  'says what nobody knows': (channel) => channel.send({ type: 'give me all' }),
  'says nothing': () => {},
  'says READY first': (channel) => channel.send({ type: 'ready' }),
  'says HELLO without a pid': (channel) => channel.send({ ...HELLO, pid: 'me' }),
  'says too much': (channel) => assert.rejects(channel.send({ ...HELLO, more: 'x'.repeat(64 << 20) })),
};

testInFull('a peer that breaks the rules before MANIFEST is ended within stepTimeout, and gets nothing', () =>
  undisturbed({}, async ({ control }, old) => {
    for (const [what, act] of Object.entries(WRONG)) {
      const channel: Channel = await FdChannel.connect(control);
      const closed = new Promise<void>((resolve) => channel.once('close', () => resolve()));
      channel.on('error', () => {});
      await act(channel);
      await assert.rejects(next(channel), what);
      await closed;
    }
    assert.equal(old.told('rollback'), undefined);
  }),
);

/** What a peer does that was given the listeners. */
const LATE: Record<string, [act: (channel: Channel) => unknown, code: string]> = {
  'never says READY': [() => {}, 'ERR_FDPASSER_STEP_TIMEOUT'],
  'says what nobody knows': [(channel) => channel.send({ type: 'mine' }), 'ERR_FDPASSER_PROTOCOL'],
  'says CONFIRM first': [(channel) => channel.send({ type: 'confirm', live: [] }), 'ERR_FDPASSER_PROTOCOL'],
  'says READY and no more': [(channel) => channel.send({ type: 'ready' }), 'ERR_FDPASSER_STEP_TIMEOUT'],
  'goes without a word': [(channel) => channel.destroy(), 'ERR_FDPASSER_GONE'],
};

testInFull('a peer that breaks the rules after MANIFEST makes the old process say ROLLBACK and serve on', () =>
  undisturbed({}, async ({ control }, old) => {
    for (const [what, [act, code]] of Object.entries(LATE)) {
      old.reports.length = 0;
      const channel: Channel = await FdChannel.connect(control, { maxFds: 8 });
      void channel.send(HELLO);
      assert.equal(await next(channel), 'manifest');
      await act(channel);
      assert.equal((await old.tells('rollback')).code, code, what);
      if (code === 'ERR_FDPASSER_GONE') continue;
      let heard = await next(channel);
      if (heard === 'commit') heard = await next(channel);
      assert.equal(heard, 'rollback', what);
      channel.destroy();
    }
  }),
);

testInFull('descriptors that a new process sends are closed', () =>
  undisturbed({}, async ({ control }) => {
    const [here, there] = socketpair();
    const channel: Channel = await FdChannel.connect(control, { maxFds: 8 });
    await channel.send(HELLO, [there]);
    assert.equal(await next(channel), 'manifest');
    await once(here.toSocket().resume(), 'end');
    channel.destroy();
  }),
);

testInFull('a new process serves on when the old one breaks the rules after CONFIRMED', () =>
  onSite(async ({ control, port, start }) => {
    const server = net.createServer({ pauseOnConnect: true }).listen(control);
    await once(server, 'listening');
    const heir = start({ options: { ...OPTIONS, probation: 0 } });
    const [socket] = (await once(server, 'connection')) as [net.Socket];
    const channel: Channel = new FdChannel(await OwnedFd.detach(socket));
    const hears = async (type: string): Promise<void> => assert.equal(await next(channel), type);
    await hears('hello');
    void channel.send({ type: 'manifest', version: 1, pid: process.pid, listeners: [] });
    await hears('ready');
    void channel.send({ type: 'commit' });
    await hears('serving');
    await hears('confirm');
    void channel.send({ type: 'confirmed', drainTimeout: 1000 }, [await OwnedFd.detach(server)]);
    void channel.send({ type: 'what nobody knows' });
    await assert.rejects(next(channel)); // it has ended the conversation
    assert.equal(await ask({ port }), `${heir.pid}`);
    assert.equal(heir.told('rolledback'), undefined);
    const last = start({ options: OPTIONS });
    await last.tells('serving');
    assert.equal((await heir.end).code, 0);
  }),
);

/** What listens at a control path and is no server of takeover, and how who dials it fails. */
const SERVERS: Record<string, [serve: (socket: net.Socket) => void, code: string]> = {
  'says nothing': [() => {}, 'ERR_FDPASSER_STEP_TIMEOUT'],
  'says garbage': [(socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'), 'ERR_FDPASSER_PROTOCOL'],
  'hangs up': [(socket) => socket.destroy(), 'ERR_FDPASSER_GONE'],
};

for (const [what, [serve, code]] of Object.entries(SERVERS))
  test(`a process whose control path belongs to a server that ${what} fails with ${code}`, () =>
    onSite(async ({ control, start }) => {
      const server = net.createServer((socket) => serve(socket.on('error', () => {}).resume())).listen(control);
      await once(server, 'listening');
      try {
        const failed = await start({ options: OPTIONS }).tells('failed');
        assert.deepEqual([failed.code, failed.step], [code, 'MANIFEST']);
      } finally {
        server.close();
      }
    }));
