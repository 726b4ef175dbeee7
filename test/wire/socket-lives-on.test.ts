import assert from 'node:assert/strict';
import { FdChannel, FdPasser, FdStream, socketpair, type OwnedFd } from 'fdpasser';
import { ended, startPython } from '../support/child.js';
import { test } from '../support/test.js';

/** Reports SO_OOBINLINE, SO_PASSCRED, SO_PASSSEC and SO_PEEK_OFF, and what two peeks show. */
const TELL = `
import socket
s = socket.socket(fileno=3)
print([s.getsockopt(socket.SOL_SOCKET, o) for o in (10, 16, 34, 42)], [s.recv(9, socket.MSG_PEEK) for _ in range(2)])
`;

const SET = `
import socket
s = socket.socket(fileno=3)
for o in (10, 16, 34): s.setsockopt(socket.SOL_SOCKET, o, 1)
s.setsockopt(socket.SOL_SOCKET, 42, 0)
`;

async function run(program: string, socket: { readonly fd: number }): Promise<string> {
  const { code, stdout, stderr } = await ended(startPython(program, socket));
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  return stdout.trim();
}

const OVER = {
  passer: (socket: OwnedFd) => new FdPasser({ fh: socket }),
  channel: (socket: OwnedFd) => new FdChannel(socket),
  stream: (socket: OwnedFd) => new FdStream(socket),
};

/** Such systems have no peek offset. */
const CANNOT_PEEK = process.env['FDPASSER_PEEK'] === 'off' && 'built as for a system that cannot peek';

for (const [wire, over] of Object.entries(OVER))
  for (const [was, program, found] of [
    ['off', '', "[0, 0, 0, -1] [b'kept', b'kept']"],
    ['on', SET, "[1, 1, 1, 0] [b'ke', b'pt']"],
  ])
    test(
      `a socket that lives on after a ${wire} has its options again, which were ${was}`,
      async () => {
        const [ours, theirs] = socketpair();
        const elsewhere = ours.dup();
        await run(program!, elsewhere);
        over(ours).destroy();
        await run('import socket; socket.socket(fileno=3).send(b"kept")', theirs);
        assert.equal(await run(TELL.replace('9', was === 'on' ? '2' : '9'), elsewhere), found);
        elsewhere.close();
        theirs.close();
      },
      was === 'on' && CANNOT_PEEK,
    );
