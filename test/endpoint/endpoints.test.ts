import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { lstatSync, readdirSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { runInNewContext } from 'node:vm';
import {
  FdPasser,
  connect,
  fdpasserAccept,
  fdpasserConnect,
  fdpasserServer,
  fdpasserSocketpair,
  listen,
  peerCredentials,
  socketpair,
  type FdServer,
  type OwnedFd,
  type PeerCredentials,
} from 'fdpasser';
import { addon } from '#dist/native/load.js';
import { ended, message, startChild, type Ended } from '../support/child.js';
import { O_CLOEXEC, O_NONBLOCK, flagsOf, inFolder } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { pushFiles, receiveFiles, turns } from '../support/passing.js';
import { test } from '../support/test.js';

/** Passes a descriptor each way between two sockets, and closes both. */
async function prove(a: OwnedFd, b: OwnedFd): Promise<void> {
  const one = new FdPasser({ fh: a });
  const other = new FdPasser({ fh: b });
  assert.deepEqual(pushFiles(one, 1), await receiveFiles(other, 1));
  assert.deepEqual(pushFiles(other, 1), await receiveFiles(one, 1));
  await Promise.all([one.close(), other.close()]);
}

function assertOrderly({ code, signal, stderr }: Ended): void {
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
}

test('a listener accepts connections in the order made, by path or abstract name, of either type', async () => {
  await inFolder(async (folder) => {
    for (const path of [`${folder}/socket`, `\0${folder}`])
      for (const type of ['stream', 'seqpacket'] as const) {
        using server = listen(path, { type });
        assert.equal(server.path, path);
        assert.ok(flagsOf(server.fd) & O_CLOEXEC);
        const clients = [await connect(path, { type }), await connect(path, { type })] as const;
        const accepted = [await server.accept(), await server.accept()] as const;
        for (const fd of [...clients, ...accepted]) {
          assert.equal(fd.kind, `unix-${type}`);
          assert.equal(flagsOf(fd.fd) & (O_CLOEXEC | O_NONBLOCK), O_CLOEXEC | O_NONBLOCK);
        }
        await prove(clients[0], accepted[0]);
        await prove(clients[1], accepted[1]);
      }
    assert.deepEqual(readdirSync(folder), []);
  });
});

test('accept waits for a connection, and each gets its own', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`);
    const accepting = [server.accept(), server.accept()] as const;
    await turns();
    const clients = [await connect(server.path), await connect(server.path)] as const;
    await prove(clients[0], await accepting[0]);
    await prove(clients[1], await accepting[1]);
  });
});

test('connect waits while the backlog is full', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`, { backlog: 0 });
    const first = await connect(server.path);
    let connected = false;
    const second = connect(server.path).finally(() => (connected = true));
    const TIMEOUT = { code: 'ERR_FDPASSER_TIMEOUT', message: /more than 20 ms: the listener's backlog stayed full/ };
    await assert.rejects(connect(server.path, { timeout: 20 }), TIMEOUT);
    const control = new AbortController();
    const aborted = connect(server.path, { signal: control.signal });
    await turns();
    control.abort('enough');
    await assert.rejects(aborted, { name: 'AbortError', code: 'ABORT_ERR', cause: 'enough' });
    assert.equal(connected, false);
    await prove(first, await server.accept());
    await prove(await second, await server.accept());
  });
});

test('a waiting connect uses the folder in which it was called, even if the process has changed its folder', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`, { backlog: 0 });
    const before = process.cwd();
    process.chdir(folder);
    try {
      const first = await connect('socket');
      const second = connect('socket');
      process.chdir('/');
      await prove(first, await server.accept());
      await prove(await second, await server.accept());
    } finally {
      process.chdir(before);
    }
  });
});

test('a connect aborted beforehand does not connect', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`);
    await assert.rejects(connect(server.path, { signal: AbortSignal.abort() }), { name: 'AbortError' });
    const client = await connect(server.path, { signal: new AbortController().signal, timeout: 1000 });
    await prove(client, await server.accept());
  });
});

test('an aborted accept loses no connection', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`);
    const control = new AbortController();
    const early = server.accept({ signal: control.signal });
    const next = server.accept();
    control.abort('not now');
    await assert.rejects(early, { name: 'AbortError', cause: 'not now' });
    await assert.rejects(server.accept({ signal: AbortSignal.abort() }), { name: 'AbortError' });
    await prove(await connect(server.path), await next);

    const client = await connect(server.path);
    const late = new AbortController();
    const aborted = server.accept({ signal: late.signal });
    late.abort();
    await assert.rejects(aborted, { name: 'AbortError' });
    await turns();
    await prove(client, await server.accept());
  });
});

test('for await brings connections until the server closes, and leaving it loses none', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`);
    const clients = [await connect(server.path), await connect(server.path), await connect(server.path)];
    for await (const accepted of server) {
      await prove(clients.shift()!, accepted);
      if (clients.length === 2) break;
    }
    const iterator = server[Symbol.asyncIterator]();
    for await (const accepted of server) {
      await prove(clients.shift()!, accepted);
      if (clients.length === 0) server.close();
    }
    assert.deepEqual(await iterator.next(), { done: true, value: undefined });
  });
});

test('close rejects waiting accepts, and closes connections that nobody accepted', async () => {
  await inFolder(async (folder) => {
    const server = listen(`${folder}/socket`);
    const CLOSED = { code: 'ERR_FDPASSER_CLOSED', message: /This server is closed: close\(\) was called/ };
    const waiting = assert.rejects(server.accept(), CLOSED);
    server.close();
    server.close();
    await waiting;
    await assert.rejects(server.accept(), CLOSED);
    assert.equal(server.fd, -1);

    const other = listen(server.path);
    const passer = new FdPasser({ fh: await connect(other.path) });
    other.close();
    await assert.rejects(passer.receive());
    await assert.rejects(connect(other.path), { code: 'ENOENT' });
  });
});

test('close removes its own path, but not a file that has replaced it', async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/socket`;
    listen(path).close();
    assert.equal(lstatSync(path, { throwIfNoEntry: false }), undefined);

    const gone = listen(path);
    unlinkSync(path);
    gone.close();

    const replaced = listen(path);
    unlinkSync(path);
    writeFileSync(path, 'precious');
    replaced.close();
    assert.ok(lstatSync(path).isFile());
    unlinkSync(path);

    const moved = listen(path);
    renameSync(path, `${folder}/elsewhere`);
    using successor = listen(path);
    moved.close();
    const client = await connect(path);
    await prove(client, await successor.accept());
  });
});

test('a path is accessible only to its own user from the first moment', async () => {
  const umask = process.umask(0);
  try {
    await inFolder(async (folder) => {
      const child = startChild('endpoint/watcher');
      const end = ended(child);
      for (let i = 0; i < 50; i++) {
        const path = `${folder}/${i}`;
        const looking = message(child);
        child.send(path);
        await looking;
        const seen = message<number>(child);
        using server = listen(path);
        assert.equal(lstatSync(server.path).mode & 0o777, 0o600);
        assert.equal((await seen) & ~0o600, 0);
      }
      child.send(''); // a child whose parent disconnects never gets to 'close' in Node 20
      assertOrderly(await end);
      using open = listen(`${folder}/open`, { mode: 0o666 });
      assert.equal(lstatSync(open.path).mode & 0o777, 0o666);
    });
  } finally {
    process.umask(umask);
  }
});

test('the system call that makes a path gives it its mode', async () => {
  const umask = process.umask(0);
  try {
    await inFolder((folder) => {
      const path = `${folder}/socket`;
      const fd = addon.listen(0, Buffer.from(`${path}\0`), 0o600, 1);
      assert.equal(lstatSync(path).mode & 0o777, 0o600);
      addon.close(fd);
    });
  } finally {
    process.umask(umask);
  }
});

test('a client that is not allowed sees the end, and accept waits for the next', async () => {
  await inFolder(async (folder) => {
    const asked: PeerCredentials[] = [];
    using server = listen(`${folder}/socket`, { allow: (peer) => asked.push(peer) > 1 });
    const refused = new FdPasser({ fh: await connect(server.path) });
    const client = await connect(server.path);
    const accepted = await server.accept();
    await assert.rejects(refused.receive(), { code: 'ERR_FDPASSER_CLOSED', message: /the peer closed its end/ });
    await prove(client, accepted);
    const self = { pid: process.pid, uid: process.getuid!(), gid: process.getgid!() };
    assert.deepEqual(asked, [self, self]);
  });
});

test('accept rejects with what allow throws, and that connection is closed', async () => {
  await inFolder(async (folder) => {
    let calls = 0;
    const allow = (): boolean => {
      if (calls++ === 0) throw new Error('cannot tell');
      return true;
    };
    using server = listen(`${folder}/socket`, { allow });
    const refused = new FdPasser({ fh: await connect(server.path) });
    await assert.rejects(server.accept(), /cannot tell/);
    await assert.rejects(refused.receive(), { message: /the peer closed its end/ });
    await prove(await connect(server.path), await server.accept());
  });
});

test('an allow that returns anything but true or false is an error, and lets nobody in', async () => {
  await inFolder(async (folder) => {
    const answers: (() => unknown)[] = [
      () => Promise.resolve(true),
      () => Promise.reject(new Error('an unhandled rejection would fail this test')),
      () => runInNewContext('Promise.reject(new Error("of another realm"))'),
      () => undefined,
      () => 1,
      () => 'yes',
      () => ({}),
    ];
    let answer = answers[0]!;
    using server = listen(`${folder}/socket`, { allow: () => answer() as boolean });
    for (answer of answers) {
      const refused = new FdPasser({ fh: await connect(server.path) });
      const message = /"options\.allow" function must return true or false/;
      await assert.rejects(server.accept(), { name: 'TypeError', code: 'ERR_INVALID_RETURN_VALUE', message });
      await assert.rejects(refused.receive(), { message: /the peer closed its end/ });
    }
    answer = (): boolean => true;
    await prove(await connect(server.path), await server.accept());
  });
});

/** Connects to an address of any bytes, as other programs do. */
const CALLER = `
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(bytes.fromhex(sys.argv[1]))
`;

test('an abstract name may have NULs inside and at the end, and the greatest length', async () => {
  needs('python3');
  const pid = process.pid;
  for (const name of [`\0a\0${pid}`, `\0b${pid}\0`, `\0\0c${pid}`, `\0é${pid}`.padEnd(107, '\0')]) {
    using server = listen(name);
    await prove(await connect(name), await server.accept());
    execFileSync('python3', ['-c', CALLER, Buffer.from(name).toString('hex')]);
    using _accepted = await server.accept();
    const shorter = name.slice(0, -1);
    await assert.rejects(connect(shorter), { code: 'ECONNREFUSED', path: shorter, message: /'@[^\0]*'/ });
    assert.throws(() => listen(name.padEnd(110, '\0')), { code: 'ENAMETOOLONG' });
  }
});

test('peerCredentials reports the process that connected, that listens, and that made the pair', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`);
    const self = { pid: process.pid, uid: process.getuid!(), gid: process.getgid!() };
    const child = startChild('endpoint/caller', { args: [server.path] });
    const end = ended(child);
    const caller = message<PeerCredentials>(child);
    {
      using accepted = await server.accept();
      assert.deepEqual(peerCredentials(accepted), await caller);
      assert.equal(peerCredentials(accepted.fd).pid, child.pid);
    }
    assertOrderly(await end);
    using client = await connect(server.path);
    assert.deepEqual(peerCredentials(client), self);
    const [a, b] = socketpair();
    assert.deepEqual([peerCredentials(a), peerCredentials({ fd: b.fd })], [self, self]);
    a.close();
    b.close();
  });
});

test('the names of the Perl module work as in Perl', async () => {
  await inFolder(async (folder) => {
    await prove(...fdpasserSocketpair());
    for (const backlog of [undefined, 10]) {
      using server: FdServer = fdpasserServer(`${folder}/socket`, backlog);
      const accepting = fdpasserAccept(server);
      await prove(await fdpasserConnect(server.path), await accepting);
    }
    assert.throws(() => fdpasserServer(`${folder}/socket`, -1), { code: 'ERR_OUT_OF_RANGE' });
  });
});
