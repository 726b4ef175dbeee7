import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { FdPasser } from 'fdpasser';
import { ended, startChild } from './child.js';

/**
 * Runs `body` with a child process at the other end of a passer. The child must end in order when the passer closes.
 */
export async function withChild(
  name: string,
  body: (passer: FdPasser, child: ChildProcess) => Promise<void>,
): Promise<void> {
  const passer = new FdPasser();
  const child = startChild(name, { peer: passer.peer });
  passer.iAmParent();
  const end = ended(child);
  try {
    await Promise.race([
      body(passer, child),
      end.then(({ stderr }) => assert.fail(`the child ended early: ${stderr}`)),
    ]);
  } finally {
    await passer.close();
  }
  const { code, signal, stderr } = await end;
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
}

/** Both ends of a new TCP connection. The client lets its peer end first. */
export async function connection(
  options: { allowHalfOpen?: boolean } = {},
): Promise<[client: Socket, accepted: Socket]> {
  const server = createServer(options).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const [[accepted]] = (await Promise.all([once(server, 'connection'), once(client, 'connect')])) as [
    [Socket],
    unknown,
  ];
  server.close();
  return [client, accepted];
}

/** Reads until this text has come. */
export async function reads(socket: Socket, text: string): Promise<void> {
  let got = '';
  while (got !== text) {
    const bytes = socket.read() as Buffer | null;
    if (bytes === null) {
      assert.ok(!socket.readableEnded && !socket.destroyed, `ended after '${got}'`);
      await Promise.race([once(socket, 'readable'), once(socket, 'end')]);
      continue;
    }
    got += bytes.toString();
    assert.ok(text.startsWith(got), `'${got}' is not the beginning of '${text}'`);
  }
}

/**
 * A free port of this machine, for a program that does not tell which port it took. It is not among those that the
 * system hands out by itself, which another process could get at any moment.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const probe = createServer().listen(port, '127.0.0.1');
    try {
      await once(probe, 'listening');
    } catch {
      continue;
    }
    probe.close();
    await once(probe, 'close');
    return port;
  }
}

/** Whether a socket is there and listens. The path exists a moment earlier. */
export function listens(path: string): boolean {
  const SO_ACCEPTCON = '00010000'; // unix_seq_show in Linux's net/unix/af_unix.c
  return readFileSync('/proc/net/unix', 'utf8')
    .split('\n')
    .some((line) => line.includes(` ${SO_ACCEPTCON} `) && line.endsWith(` ${path}`));
}
