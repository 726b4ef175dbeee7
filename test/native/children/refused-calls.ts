/** Passes files over every wire, and reports whether each arrived as the same file and in order. */
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { createServer } from 'node:net';
import { FdChannel, FdPasser, FdStream, OwnedFd, connect, listen, socketpair } from 'fdpasser';
import { anonymousFile, closeAll, identity, inFolder } from '../../support/descriptors.js';

const files = Array.from({ length: 50 }, anonymousFile);
const sent = files.map(identity);

function arrived(fds: OwnedFd[]): void {
  assert.deepEqual(
    fds.map(({ fd }) => identity(fd)),
    sent,
  );
  OwnedFd.closeAll(fds);
}

for (const type of ['stream', 'seqpacket', 'dgram'] as const)
  for (const batch of [1, 20]) {
    const [one, other] = socketpair({ type });
    const [sender, receiver] = [new FdPasser({ fh: one, batch }), new FdPasser({ fh: other })];
    for (const fd of files) sender.pushSendFh(fd, { keepOpen: true });
    const fds: OwnedFd[] = [];
    while (fds.length < files.length) fds.push(...(await receiver.receiveMany({ most: 7 })));
    arrived(fds);
    await sender.close();
    if (type !== 'dgram')
      await assert.rejects(receiver.receive(), { code: 'ERR_FDPASSER_CLOSED', message: /the peer closed its end/ });
    else receiver.destroy();
  }

{
  const [one, other] = socketpair();
  const [sender, receiver] = [new FdStream(one), new FdStream(other)];
  const fds: OwnedFd[] = [];
  receiver.on('fds', (some) => fds.push(...some));
  let bytes = 0;
  // More than the socket's buffer takes at once, so that it is sent in parts.
  for (const fd of files) sender.writeWithFds(Buffer.alloc(30_000), [fd], { keepOpen: true });
  sender.end();
  for await (const chunk of receiver) bytes += (chunk as Buffer).length;
  assert.equal(bytes, files.length * 30_000);
  arrived(fds);
}

{
  const [one, other] = socketpair();
  const [sender, receiver] = [new FdChannel(one), new FdChannel(other)];
  const fds: OwnedFd[] = [];
  for (const fd of files) void sender.send('x'.repeat(10_000), [fd], { keepOpen: true });
  while (fds.length < files.length) fds.push(...(await receiver.receive()).fds);
  arrived(fds);
  await sender.close();
  await receiver.close();
}

await inFolder(async (folder) => {
  const path = `${folder}/socket`;
  for (let i = 0; i < 2; i++) {
    const server = listen(path, { mode: 0o600 });
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const [client, accepted] = await Promise.all([connect(path), server.accept()]);
    // Another, for which it has to wait.
    const [later, last] = await Promise.all([server.accept(), connect(path)]);
    for (const one of [client, accepted, later, last]) one.close();
    server.close();
  }
  // The socket file of a dead process is replaced.
  const dead = createServer().listen(`${folder}/dead`);
  await new Promise((resolve) => dead.once('listening', resolve));
  const { rename } = await import('node:fs/promises');
  await rename(`${folder}/dead`, path);
  dead.close();
  listen(path).close();
});

closeAll(files);
process.send!('all arrived');
process.disconnect();
