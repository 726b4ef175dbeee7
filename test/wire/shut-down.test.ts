import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { FdPasser, connect, listen, socketpair } from 'fdpasser';
import { anonymousFile, identity, inFolder, until } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { test } from '../support/test.js';

const CLOSED = { code: 'ERR_FDPASSER_CLOSED' };
const DIRECTIONS = { receiving: 'RD', 'both directions': 'RDWR' } as const;

/** Makes another process that shares the socket shut it down. */
function shutElsewhere(fd: number, direction: string): void {
  needs('python3');
  const program = `import socket; socket.socket(fileno=3).shutdown(socket.SHUT_${direction})`;
  execFileSync('python3', ['-c', program], { stdio: ['ignore', 'ignore', 'inherit', fd] });
}

for (const [what, direction] of Object.entries(DIRECTIONS)) {
  for (const type of ['stream', 'seqpacket', 'dgram'] as const)
    test(`a ${type} passer gets what came before somebody shut ${what} down, and ends`, async () => {
      const [near, far] = socketpair({ type });
      const share = near.dup();
      const [passer, peer] = [new FdPasser({ fh: near }), new FdPasser({ fh: far })];
      const fd = anonymousFile();
      const file = identity(fd);
      await peer.send(fd);
      shutElsewhere(share.fd, direction);
      share.close();
      using received = await passer.receive();
      assert.equal(identity(received.fd), file);
      await assert.rejects(passer.receive(), CLOSED);
      peer.destroy();
    });

  test(`an accept is refused when somebody shut ${what} of the listener down, after what came before`, async () => {
    await inFolder(async (folder) => {
      const path = join(folder, 'socket');
      using server = listen(path);
      using client = await connect(path);
      shutElsewhere(server.fd, direction);
      using connection = await server.accept();
      assert.ok(client.fd !== connection.fd);
      for (let i = 0; i < 2; i++) await assert.rejects(server.accept(), { code: 'EINVAL', message: /shut it down/ });
    });
  });
}

test('an idle datagram passer ends when somebody shut its receiving down', async () => {
  const [near, far] = socketpair({ type: 'dgram' });
  const share = near.dup();
  const reports: unknown[] = [];
  const passer = new FdPasser({ fh: near, onError: (error) => reports.push(error) });
  shutElsewhere(share.fd, 'RD');
  await until(() => reports.length > 0);
  assert.deepEqual(reports, [undefined]);
  await assert.rejects(passer.receive(), CLOSED);
  share.close();
  far.close();
});
