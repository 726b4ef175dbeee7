import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NotifySocket } from '#dist/cli/exec/notify-socket.js';
import { until } from '../support/descriptors.js';
import { onSite } from '../support/takeover.js';
import { test } from '../support/test.js';

const REGISTER = fileURLToPath(new URL('../../../dist/bundle/takeover-register.js', import.meta.url));

const PROGRAM = `const server = require('node:http').createServer((request, response) => response.end());
server.listen(Number(process.argv[2]), '127.0.0.1', () => process.argv[3] === 'broken' && process.exit(9));
process.on('SIGTERM', () => server.close());
process.on('SIGUSR2', () => {
  server.close(() => server.listen(Number(process.argv[3]), '127.0.0.1', () => console.log('again')));
});
`;

const ready = ({ pid }: ChildProcess): string => `READY=1 MAINPID=${pid}`;

/** Runs `body` with a manager, the messages that it got, and a function that starts a program that sends them. */
async function managed(
  body: (told: string[], start: (...args: string[]) => ChildProcess, port: number) => Promise<void>,
): Promise<void> {
  await onSite(async ({ folder, control, port }) => {
    const started: ChildProcess[] = [];
    const told: string[] = [];
    const script = join(folder, 'app.cjs');
    writeFileSync(script, PROGRAM);
    const address = join(folder, 'notify');
    const manager = new NotifySocket(address, (assignments) =>
      told.push(assignments.filter((line) => !line.startsWith('MONOTONIC_USEC=')).join(' ')),
    );
    const probation = { FDPASSER_TAKEOVER_PROBATION: '500' };
    const env = { ...process.env, NOTIFY_SOCKET: address, FDPASSER_TAKEOVER: control, ...probation };
    const start = (...args: string[]): ChildProcess => {
      const child = spawn(process.execPath, ['--import', REGISTER, script, `${port}`, ...args], { env });
      started.push(child);
      return child;
    };
    try {
      await body(told, start, port);
    } finally {
      const running = started.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null);
      for (const child of running) child.kill('SIGKILL');
      await Promise.all(running.map((child) => once(child, 'exit')));
      manager.close();
    }
  });
}

test('a service manager is told which process serves, of a replacement, of a failed one, and of the end', () =>
  managed(async (told, start) => {
    const first = start();
    await until(() => told.length === 1);
    const broken = start('broken');
    assert.deepEqual(await once(broken, 'exit'), [9, null]);
    await until(() => told.length === 3);
    const second = start();
    assert.deepEqual(await once(first, 'exit'), [0, null]);
    await until(() => told.length === 5);
    second.kill('SIGTERM');
    assert.deepEqual(await once(second, 'exit'), [0, null]);
    await until(() => told.length === 6);
    assert.deepEqual(told, [ready(first), 'RELOADING=1', ready(first), 'RELOADING=1', ready(second), 'STOPPING=1']);
  }));

test('a program that listens again when its server has closed is not reported as stopping', () =>
  managed(async (told, start, port) => {
    const program = start(`${port}`);
    await until(() => told.length === 1);
    const listens = once(program.stdout!, 'data');
    program.kill('SIGUSR2');
    assert.equal(`${(await listens)[0]}`, 'again\n');
    program.kill('SIGTERM');
    assert.deepEqual(await once(program, 'exit'), [0, null]);
    await until(() => told.length === 2);
    assert.deepEqual(told, [ready(program), 'STOPPING=1']);
  }));
