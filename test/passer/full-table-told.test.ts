/** A program that listens to no event gets a warning about a full table. */
import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { FdChannel, FdPasser, FdStream, connect, socketpair, type OwnedFd } from 'fdpasser';
import type { Scene, Told } from './children/full-table-told.js';
import { ended, message, startChild } from '../support/child.js';
import { anonymousFile, inFolder } from '../support/descriptors.js';
import { test } from '../support/test.js';

const LIMIT = 64;
/**
 * Where the system cannot peek, a message that needs more slots than the one before can be lost, and the loss is
 * reported.
 */
const PEEKS = process.env['FDPASSER_PEEK'] !== 'off';
/** The number of slots that the child leaves free. */
const FREE = 4;

/** The warnings that the child gets for `fds` descriptors in one message. It ends in order. */
async function told(scene: Scene, fds: number, send: (socket: OwnedFd) => Promise<unknown>): Promise<Told> {
  const [ours, theirs] = socketpair();
  const child = startChild('passer/full-table-told', {
    peer: theirs,
    descriptors: LIMIT,
    args: [scene, `${FREE}`, `${fds}`],
  });
  theirs.close();
  const end = ended(child);
  const report = message<Told>(child);
  const wire = await send(ours);
  const found = await report;
  const { code, signal, stdout } = await end;
  assert.deepEqual({ code, signal, stdout }, { code: 0, signal: null, stdout: '' });
  (wire as { destroy(): void }).destroy();
  return found;
}

const SENDERS: Record<
  Scene & ('passer' | 'channel' | 'stream'),
  (fds: number[]) => (socket: OwnedFd) => Promise<unknown>
> = {
  passer: (fds) => async (fh) => {
    const passer = new FdPasser({ fh, batch: fds.length });
    await Promise.all(fds.map((fd) => passer.send(fd, { keepOpen: true })));
    return passer;
  },
  channel: (fds) => async (fh) => {
    const channel = new FdChannel(fh);
    await channel.send('a message', fds, { keepOpen: true });
    return channel;
  },
  stream: (fds) => (fh) =>
    new Promise((resolve) => {
      const stream = new FdStream(fh).on('error', () => {});
      stream.writeWithFds(Buffer.from('some bytes'), fds, { keepOpen: true }, () => resolve(stream));
    }),
};

for (const [wire, sender] of PEEKS
  ? (Object.entries(SENDERS) as [keyof typeof SENDERS, (typeof SENDERS)['passer']][])
  : []) {
  test(`a full table causes one warning, with what waits and how many slots it needs: ${wire}`, async () => {
    const fd = anonymousFile();
    const fds = Array<number>(FREE + 3).fill(fd);
    const { warnings, received } = await told(wire, fds.length, sender(fds));
    closeSync(fd);
    assert.equal(warnings.length, 1);
    assert.equal(warnings[0]!.name, 'FdPasserWarning');
    assert.match(warnings[0]!.message, new RegExp(`sent to a ${wire} waits`));
    assert.match(
      warnings[0]!.message,
      new RegExp(`needs ${fds.length} free slots, and ${FREE} of the ${LIMIT} here are free`),
    );
    assert.match(warnings[0]!.message, /Close descriptors, or raise the limit/);
    assert.equal(received, fds.length);
  });

  test(`more descriptors than the process could ever have cause a warning of their own: ${wire}`, async () => {
    const fd = anonymousFile();
    const fds = Array<number>(60).fill(fd); // fewer than the limit, but the runtime itself uses some
    const { warnings, received } = await told(wire, fds.length, sender(fds));
    closeSync(fd);
    assert.equal(warnings.length, 1);
    assert.equal(warnings[0]!.name, 'FdPasserWarning');
    assert.match(warnings[0]!.message, /can never come/);
    assert.match(warnings[0]!.message, new RegExp(`needs ${fds.length} free slots.* ${LIMIT} descriptors`));
    assert.equal(received, 0);
  });
}

test('a table without any room causes a warning, too', async () => {
  const fd = anonymousFile();
  const { warnings, received } = await told('passer without room', 1, SENDERS.passer([fd]));
  closeSync(fd);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!.message, /sent to a passer waits/);
  assert.equal(received, 1);
});

if (PEEKS)
  test("a program that listens to 'exhausted' is not warned, unless what waits can never come", async () => {
    const fd = anonymousFile();
    const few = await told('listener', FREE + 3, SENDERS.passer(Array<number>(FREE + 3).fill(fd)));
    assert.deepEqual(few, { warnings: [], received: FREE + 3 });
    const many = await told('listener', 60, SENDERS.passer(Array<number>(60).fill(fd)));
    assert.equal(many.warnings.length, 1);
    assert.match(many.warnings[0]!.message, /can never come/);
    closeSync(fd);
  });

test('connections that find no room cause a warning', async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/socket`;
    const child = startChild('passer/full-table-told', { descriptors: LIMIT, args: ['server', '0', '1', path] });
    const end = ended(child);
    await message(child);
    const socket = await connect(path);
    const report = message<Told>(child);
    child.send('connected');
    const { warnings, received } = await report;
    const { code, signal } = await end;
    assert.deepEqual({ code, signal }, { code: 0, signal: null });
    assert.match(warnings[0]!.message, new RegExp(`connection to '${path}' waits.*needs one free slot`));
    assert.deepEqual([warnings.length, received], [1, 1]);
    socket.close();
  });
});
