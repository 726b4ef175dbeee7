import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { FdPasser, type FdPasserOptions, type OwnedFd } from 'fdpasser';
import { ended } from '../support/child.js';
import { anonymousFile, identity } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { test } from '../support/test.js';

/** More than a socket's buffer holds, so that each side has to wait for the other. */
const MANY = 600;

/**
 * Starts another language's program from test/interop with one end of a pair as its descriptor 3. The pair is left
 * blocking, as such programs expect.
 */
function startPeer(command: 'perl' | 'python3', script: string, args: unknown[], options: FdPasserOptions = {}) {
  needs(command === 'perl' ? 'IO::FDPass of Perl' : command);
  const passer = new FdPasser({ ...options, dontSetNonblocking: true });
  const path = fileURLToPath(new URL(`../../../test/interop/${script}`, import.meta.url));
  const child = spawn(command, [path, ...args.map(String)], {
    stdio: ['ignore', 'pipe', 'pipe', passer.peer.fd],
    env: { ...process.env, LD_PRELOAD: undefined }, // the guard is for Node
  });
  passer.iAmParent();
  return { passer, end: ended(child) };
}

type Peer = ReturnType<typeof startPeer>;

/** Sends `count` files to a program that prints what it received. */
async function sendTo({ passer, end }: Peer, count: number): Promise<void> {
  const sent: string[] = [];
  for (let i = 0; i < count; i++) {
    const fd = anonymousFile();
    sent.push(`${identity(fd)}\n`);
    passer.pushSendFh(fd);
  }
  await passer.close();
  assert.deepEqual(await end, { code: 0, signal: null, stdout: sent.join(''), stderr: '' });
}

/** Receives, until its end, from a program that prints what it sends. */
async function receiveFrom({ passer, end }: Peer, count: number): Promise<void> {
  const received: OwnedFd[] = [];
  for await (const fd of passer) received.push(fd);
  // All are open, so no two can share an inode.
  const identities = received.map((fd) => `${identity(fd.fd)}\n`);
  for (const fd of received) fd.close();
  assert.deepEqual(await end, { code: 0, signal: null, stdout: identities.join(''), stderr: '' });
  assert.equal(new Set(identities).size, count);
}

test('IO::FDPass of Perl receives what a passer sends', async () => {
  await sendTo(startPeer('perl', 'io-fdpass.pl', ['receive', MANY]), MANY);
});

test('a passer receives what IO::FDPass of Perl sends', async () => {
  await receiveFrom(startPeer('perl', 'io-fdpass.pl', ['send', MANY]), MANY);
});

test('recv_fds of Python receives what a passer sends', async () => {
  await sendTo(startPeer('python3', 'python-fds.py', ['receive', MANY, 1]), MANY);
});

test('a passer receives what send_fds of Python sends', async () => {
  await receiveFrom(startPeer('python3', 'python-fds.py', ['send', MANY, 1]), MANY);
});

test('recv_fds of Python receives what a passer sends in batches', async () => {
  await sendTo(startPeer('python3', 'python-fds.py', ['receive', 20, 30], { batch: 30 }), 600);
});

test('a passer receives what send_fds of Python sends in the largest messages there are', async () => {
  await receiveFrom(startPeer('python3', 'python-fds.py', ['send', 3, 253]), 3 * 253);
});

test('multiprocessing.reduction of Python receives what a passer with a payload of one sends', async () => {
  await sendTo(startPeer('python3', 'reduction.py', ['receive', MANY], { payload: Buffer.of(1) }), MANY);
});

test('a passer receives what multiprocessing.reduction of Python sends', async () => {
  await receiveFrom(startPeer('python3', 'reduction.py', ['send', MANY]), MANY);
});

test("recv_fd of Stevens' book receives what a passer with two bytes a message sends", async () => {
  await sendTo(startPeer('python3', 'stevens.py', ['receive', MANY], { payload: Buffer.alloc(2) }), MANY);
});

test("a passer receives what send_fd of Stevens' book sends", async () => {
  await receiveFrom(startPeer('python3', 'stevens.py', ['send', MANY], { payload: Buffer.alloc(2) }), MANY);
});
