import assert from 'node:assert/strict';
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { readSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { FdChannel, FdPasser, FdStream, listen, OwnedFd, type SpawnOptions } from 'fdpasser';
import { ended } from '../support/child.js';
import { anonymousFile, closeAll, identity, inFolder, leftOpen, openDescriptors } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { test } from '../support/test.js';

const INHERITS = new URL('children/inherits.js', import.meta.url);

async function endsWell(child: ChildProcess): Promise<void> {
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  assert.deepEqual({ code, signal }, { code: 0, signal: null });
}

/** The arguments of `child_process.spawn` and `fork` for the same program. */
const WAYS: Record<string, (wire: string, options: SpawnOptions) => [string | URL, string[], SpawnOptions]> = {
  spawn: (wire, options) => [process.execPath, [fileURLToPath(INHERITS), wire], options],
  fork: (wire, options) => [INHERITS, [wire], { ...options, fork: true }],
};

for (const [way, call] of Object.entries(WAYS))
  for (const [title, stdio] of [
    ['no standard streams named', undefined],
    ['all inherited', 'inherit'],
    ['two named', ['ignore', 'pipe']],
    ['a fourth of its own', ['ignore', 'inherit', 'inherit', 'ignore']],
    ['IPC in the fourth place', ['ignore', 'inherit', 'inherit', 'ipc']],
  ] as const)
    test(`a channel's child started by ${way} finds its end, with ${title}`, async () => {
      const options = stdio === undefined ? {} : ({ stdio } as SpawnOptions);
      const { child, channel } = FdChannel.spawn<{ left: null; ipc: boolean }>(...call('FdChannel', options));
      const { value } = await channel.receive();
      assert.deepEqual(value, { left: null, ipc: way === 'fork' || title.startsWith('IPC') });
      const file = anonymousFile();
      const sent = identity(file);
      await channel.send(value, [file]);
      const { fds } = await channel.receive();
      assert.equal(identity(fds[0]!.fd), sent);
      fds[0]!.close();
      const end = endsWell(child);
      child.channel?.unref();
      await channel.close();
      await end;
    });

test("a passer's child finds its end", async () => {
  const { child, passer } = FdPasser.spawn(...WAYS['spawn']!('FdPasser', {}));
  const file = anonymousFile();
  const sent = identity(file);
  passer.pushSendFh(file);
  using back = await passer.receive();
  assert.equal(identity(back.fd), sent);
  const end = endsWell(child);
  await passer.close();
  await end;
});

test("a stream's child finds its end", async () => {
  const { child, stream } = FdStream.spawn(...WAYS['spawn']!('FdStream', {}));
  const file = anonymousFile();
  const sent = identity(file);
  stream.resume().writeWithFds(Buffer.from('there'), [file]);
  const [[back]] = (await once(stream, 'fds')) as [[OwnedFd]];
  assert.equal(identity(back.fd), sent);
  back.close();
  const end = endsWell(child);
  stream.end();
  await end;
});

for (const nonblocking of [false, true])
  test(`a child's end is ${nonblocking ? 'non-blocking when asked' : 'blocking unless asked otherwise'}`, async () => {
    needs('python3');
    const program = 'import os; print(os.get_blocking(int(os.environ["FDPASSER_FD"])), flush=True)';
    const { child, passer } = FdPasser.spawn('python3', ['-c', program], { nonblocking });
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    assert.equal((await lines.next()).value, nonblocking ? 'False' : 'True');
    await endsWell(child);
    await passer.close();
  });

test("a program that does not exist is an 'error' of the child, and the wire ends", async () => {
  const ended: unknown[] = [];
  const { child, channel } = FdChannel.spawn('/nowhere', [], { channel: { onError: (error) => ended.push(error) } });
  const [error] = (await once(child, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ENOENT');
  await assert.rejects(channel.receive(), { code: 'ERR_FDPASSER_CLOSED' });
  assert.deepEqual(ended, [undefined]);
});

test('a refused spawn starts no child and leaves nothing open', () => {
  for (const [args, options] of [
    ['args', {}],
    [[], null],
    [[], { fork: 1 }],
    [[], { nonblocking: 'yes' }],
    [[], { channel: { codec: 'xml' } }],
    [[], { stdio: ['ipc', 'ipc'] }],
    [[], { cwd: 1 }],
  ] as const)
    assert.throws(() => FdChannel.spawn('true', args as never, options as never), { code: /^ERR_(INVALID_ARG|IPC)/ });
});

test('an invalid number in the environment is refused, and a given number takes precedence', () => {
  process.env['FDPASSER_FD'] = 'three';
  assert.throws(() => FdPasser.inherit(), { code: 'ERR_FDPASSER_ENVIRONMENT' });
  process.env['FDPASSER_FD'] = '4000';
  assert.throws(() => FdPasser.inherit(), { code: 'EBADF' });
  assert.equal(process.env['FDPASSER_FD'], '4000');
  const file = anonymousFile();
  assert.throws(() => FdPasser.inherit(file), { code: 'ENOTSOCK' });
  delete process.env['FDPASSER_FD'];
  closeAll([file]);
});

test('a child that nobody gave a socket is told how it would have got one', async () => {
  const program = "import('fdpasser').then(({ FdChannel }) => FdChannel.inherit())";
  const child = await ended(spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'pipe', 'ignore'] }));
  assert.equal(child.code, 1);
  assert.match(child.stderr, /ENOTSOCK: .*FDPASSER_FD is not set.*\bspawn\b/);
});

test('a passer connects to a path as a channel and a stream do', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`);
    const [accepted, passer] = await Promise.all([server.accept(), FdPasser.connect(server.path, { batch: 2 })]);
    await using other = new FdPasser({ fh: accepted });
    const file = anonymousFile();
    const sent = identity(file);
    passer.pushSendFh(file);
    using received = await other.receive();
    assert.equal(identity(received.fd), sent);
    await passer.close();
    await assert.rejects(FdPasser.connect(`${folder}/nowhere`), { code: 'ENOENT' });
  });
});

test("an OwnedFd in stdio is the child's stream, and stays the caller's, as with Node's own spawn", async () => {
  const before = openDescriptors();
  using file = new OwnedFd(anonymousFile());
  const stdio = ['ignore', file, 'inherit'] as unknown as StdioOptions;
  await endsWell(spawn('echo', ['of Node'], { stdio }));
  const { child, passer } = FdPasser.spawn('echo', ['of fdpasser'], { stdio: ['ignore', file, 'inherit'] });
  await endsWell(child);
  passer.destroy();
  assert.equal(file.closed, false);
  const text = Buffer.alloc(100);
  assert.equal(text.toString('utf8', 0, readSync(file.fd, text, 0, 100, 0)), 'of Node\nof fdpasser\n');
  file.close();
  assert.deepEqual(leftOpen(before), []);
});

test('a closed OwnedFd in stdio is refused, and no child is started', () => {
  const before = openDescriptors();
  const closed = new OwnedFd(anonymousFile());
  closed.close();
  for (const fork of [false, true])
    assert.throws(() => FdChannel.spawn('cat', [], { fork, stdio: ['ignore', closed, 'inherit'] }), {
      code: 'ERR_FDPASSER_NOT_OWNED',
    });
  assert.deepEqual(leftOpen(before), []);
});
