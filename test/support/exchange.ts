import assert from 'node:assert/strict';
import { socketpair, type FdPasser } from 'fdpasser';
import { identity } from './descriptors.js';

/** Sends `count` new descriptors; returns their identities. */
export function sendNew(passer: FdPasser, count: number): string[] {
  return Array.from({ length: count }, () => {
    const [sent, other] = socketpair();
    other.close();
    const id = identity(sent.fd);
    passer.pushSendFh(sent);
    return id;
  });
}

/** Receives and closes `count` descriptors; returns their identities. */
export async function receiveAll(passer: FdPasser, count: number): Promise<string[]> {
  const received: string[] = [];
  for (let i = 0; i < count; i++) {
    using fd = await passer.receive();
    received.push(identity(fd.fd));
  }
  return received;
}

/** Checks that descriptors sent in both directions at once arrive in order. */
export async function exchange(one: FdPasser, other: FdPasser, count: number): Promise<void> {
  const sent = [sendNew(one, count), sendNew(other, count)];
  assert.deepEqual(await Promise.all([receiveAll(other, count), receiveAll(one, count)]), sent);
}
