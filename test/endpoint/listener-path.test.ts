import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { connect, listen, peerCredentials, type FdServer } from 'fdpasser';
import { addon } from '#dist/native/load.js';
import { ended, message, startChild, type Ended } from '../support/child.js';
import { inFolder, until } from '../support/descriptors.js';
import { withFaults } from '../support/faults.js';
import type { Race } from '../support/race.js';
import { test, testInFull } from '../support/test.js';

const { SIGSTOP } = constants.signals;
const NOBODY = 65534;

function assertOrderly({ code, signal, stdout, stderr }: Ended): void {
  assert.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: '', stderr: '' });
}

/** A socket that nobody listens on any more. */
function deadSocket(path: string): void {
  const server = listen(`${path}-live`);
  linkSync(server.path, path);
  server.close();
}

async function assertLeadsTo(path: string, pid: number): Promise<void> {
  using client = await connect(path);
  assert.equal(peerCredentials(client).pid, pid);
}

// ---- what others do to the path

/** Whether a process is stopped, as proc(5) has it. */
function isStopped(pid: number): boolean {
  return / T /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
}

interface Meanwhile {
  title: string;
  /** Called when the path has just been removed. */
  put: (path: string) => FdServer | void;
  outcome: 'won' | 'EADDRINUSE';
}

const MEANWHILE: readonly Meanwhile[] = [
  { title: 'took it away', put: () => undefined, outcome: 'won' },
  { title: 'listens there', put: (path) => listen(path), outcome: 'EADDRINUSE' },
  { title: 'receives datagrams there', put: (path) => listen(path, { type: 'dgram' }), outcome: 'EADDRINUSE' },
  { title: 'made a file there', put: (path) => writeFileSync(path, 'theirs'), outcome: 'EADDRINUSE' },
  { title: 'died there', put: deadSocket, outcome: 'won' },
];

for (const { title, put, outcome } of MEANWHILE)
  test(`a listener tells its path from that of another who ${title} in the instant after it was bound`, async () => {
    await inFolder(async (folder) => {
      await withFaults(async (faults, env) => {
        const path = `${folder}/socket`;
        faults.set({ call: 'bind', action: 'signal after', value: SIGSTOP });
        const child = startChild('endpoint/replacer', { env });
        const end = ended(child);
        const answer = tell(child, { path, at: '0' });
        await until(() => isStopped(child.pid!));
        unlinkSync(path);
        const theirs = put(path);
        const before = theirs && lstatSync(path, { bigint: true }).ino;
        child.kill('SIGCONT');
        assert.equal(await answer, outcome);
        if (outcome === 'won') await assertLeadsTo(path, child.pid!);
        await tell(child, 'close');
        if (outcome === 'won') assert.deepEqual(readdirSync(folder), []);
        else assert.deepEqual(readdirSync(folder), ['socket']);
        if (theirs !== undefined) assert.equal(lstatSync(path, { bigint: true }).ino, before);
        theirs?.close();
        child.send('end');
        assertOrderly(await end);
      });
    });
  });

function tell(child: ChildProcess, what: Race | 'close'): Promise<string> {
  const answer = message<string>(child);
  child.send(what);
  return answer;
}

// ---- folders

/** Runs `body` in another working directory. */
async function inDirectory(folder: string, body: () => Promise<void>): Promise<void> {
  const before = process.cwd();
  process.chdir(folder);
  try {
    await body();
  } finally {
    process.chdir(before);
  }
}

test('a server with a relative path removes it even if the process has changed its folder', async () => {
  await inFolder(async (folder) => {
    // Its absolute path would be too long for a socket.
    const deep = `${folder}/${'d'.repeat(120)}`;
    const other = `${folder}/other`;
    for (const name of [deep, other]) mkdirSync(name);
    writeFileSync(`${other}/socket`, 'not its own');
    await inDirectory(deep, async () => {
      deadSocket('socket');
      const server = listen('socket');
      assert.equal(server.path, 'socket');
      await assertLeadsTo('socket', process.pid);
      process.chdir(other);
      server.close();
    });
    assert.deepEqual(readdirSync(deep), []);
    assert.equal(readFileSync(`${other}/socket`, 'utf8'), 'not its own');
  });
});

test('a dead socket is replaced in a folder that may be written and searched but not read', async () => {
  assert.equal(process.getuid!(), 0, 'this test needs root, to become a user who is bound by permissions');
  await inFolder(async (folder) => {
    const dropbox = `${folder}/dropbox`;
    mkdirSync(dropbox);
    chmodSync(folder, 0o711);
    chownSync(dropbox, NOBODY, NOBODY);
    chmodSync(dropbox, 0o300);
    const children = [
      startChild('endpoint/replacer', { args: ['nobody'] }),
      startChild('endpoint/replacer', { args: ['nobody'] }),
    ];
    const ends = children.map(ended);
    for (let round = 0; round < 100; round++) {
      const path = `${dropbox}/${round}`;
      deadSocket(path);
      chownSync(path, NOBODY, NOBODY);
      const at = String(process.hrtime.bigint() + 2_000_000n);
      const results = await Promise.all(children.map((child) => tell(child, { path, at })));
      assert.deepEqual(results.toSorted(), ['EADDRINUSE', 'won'], `round ${round}`);
      await assertLeadsTo(path, children[results.indexOf('won')]!.pid!);
      await Promise.all(children.map((child) => tell(child, 'close')));
      assert.deepEqual(readdirSync(dropbox), []);
    }
    for (const child of children) child.send('end');
    for (const end of ends) assertOrderly(await end);
  });
});

testInFull('replacing one dead socket does not block replacing another, and a lock ends with its process', async () => {
  await inFolder((folder) => {
    const path = `${folder}/socket`;
    deadSocket(path);
    const others = addon.lock(Buffer.from(`${folder}/other.fdpasser-lock\0`));
    assert.ok(others >= 0);
    listen(path).close();

    deadSocket(path);
    const lock = addon.lock(Buffer.from(`${path}.fdpasser-lock\0`));
    assert.ok(lock >= 0);
    assert.throws(() => listen(path), { code: 'EADDRINUSE', path, message: /Another process is replacing/ });
    addon.close(lock);
    assert.deepEqual(readdirSync(folder), ['other.fdpasser-lock', 'socket', 'socket.fdpasser-lock']);
    using server = listen(path);
    assert.deepEqual(readdirSync(folder), ['other.fdpasser-lock', 'socket']);
    assert.ok(server.fd > 0);
    addon.close(others);
  });
});

test('listen reports when it may not remove a dead socket', async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/socket`;
    deadSocket(path);
    chmodSync(path, 0o666);
    chmodSync(folder, 0o555);
    const child = startChild('descriptor/nobody', { args: [path, path] });
    const end = ended(child);
    const [, error] = await message<NodeJS.ErrnoException[]>(child);
    assert.deepEqual([error!.code, error!.syscall, error!.path], ['EACCES', 'unlink', path]);
    assert.match(error!.message, /A dead socket is there, and this user may not remove it/);
    assertOrderly(await end);
    chmodSync(folder, 0o755);
    assert.deepEqual(readdirSync(folder), ['socket']);
  });
});

// ---- what fails after the path was bound

test('listen that fails for lack of slots leaves no path', async () => {
  await inFolder(async (folder) => {
    assertOrderly(await ended(startChild('endpoint/few-slots', { args: [`${folder}/socket`], descriptors: 100 })));
    assert.deepEqual(readdirSync(folder), []);
  });
});

// Node 20's name for it, or the later one.
const permission = process.allowedNodeEnvironmentFlags.has('--permission')
  ? '--permission'
  : '--experimental-permission';
const here = fileURLToPath(new URL('../../..', import.meta.url));

test('under the permission model listen needs access to its path, and leaves none when it may not remove it', async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/socket`;
    const read = `--allow-fs-read=${folder}/*`;
    const write = `--allow-fs-write=${folder}/*`;
    for (const [rights, outcome] of [
      [[], `ERR_ACCESS_DENIED FileSystemRead ${path}\n`],
      [[read], `ERR_ACCESS_DENIED FileSystemWrite ${path}\n`],
      [[read, write], 'listening true\n'],
    ] as const)
      for (const dead of [false, true]) {
        if (dead) deadSocket(path);
        const flags = ['--no-warnings', permission, '--allow-addons', `--allow-fs-read=${here}*`, ...rights];
        const result = await ended(startChild('endpoint/restricted-listen', { execArgv: flags, args: [path] }));
        assert.deepEqual(result, { code: 0, signal: null, stdout: outcome, stderr: '' });
        assert.equal(existsSync(path), dead && rights.length < 2);
        if (existsSync(path)) unlinkSync(path);
      }
  });
});
