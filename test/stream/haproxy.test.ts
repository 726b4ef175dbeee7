import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { fileURLToPath } from 'node:url';
import { ended } from '../support/child.js';
import { freePort } from '../support/connection.js';
import { inFolder, until } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { socketsAt } from '../support/tcp.js';
import { test } from '../support/test.js';

const example = fileURLToPath(new URL('../../../examples/haproxy.js', import.meta.url));

const configuration = (folder: string, port: number): string => `
global
  stats socket ${folder}/stats level admin expose-fd listeners
defaults
  mode http
  timeout client 5s
  timeout connect 5s
  timeout server 5s
frontend web
  bind 127.0.0.1:${port}
  http-request return status 200 content-type text/plain string "HAProxy"
`;

function ask(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get({ port, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.once('end', () => resolve(text)).once('error', reject);
    });
    request.once('error', reject);
  });
}

/** The sockets that listen at the port, by their inodes. */
function listeners(port: number): string[] {
  const LISTEN = '0A';
  return socketsAt(port)
    .filter(({ state }) => state === LISTEN)
    .map(({ inode }) => inode);
}

/** Makes requests one after the other until it is stopped. */
function load(port: number): { stop: () => Promise<string[]> } {
  const stop = new AbortController();
  const answers: string[] = [];
  const client = async (): Promise<void> => {
    while (!stop.signal.aborted) answers.push(await ask(port).catch((error: Error) => error.message));
  };
  const clients = Promise.all([client(), client()]);
  return {
    stop: async () => {
      stop.abort();
      await clients;
      return answers;
    },
  };
}

test('Node takes the socket of a HAProxy and gives it to the next one, and no request fails', async () => {
  needs('haproxy');
  await inFolder(async (folder) => {
    const port = await freePort();
    writeFileSync(`${folder}/haproxy.cfg`, configuration(folder, port));
    const running: ChildProcess[] = [];
    const start = (command: string, args: string[], env: NodeJS.ProcessEnv): ChildProcess => {
      const child = spawn(command, args, {
        cwd: folder,
        env,
        stdio: ['ignore', 'pipe', command === 'haproxy' ? 'ignore' : 'inherit'],
      });
      running.push(child);
      return child;
    };
    const { LD_PRELOAD: _, ...foreign } = process.env; // the guard is for Node
    const haproxy = (...args: string[]): ChildProcess =>
      start('haproxy', ['-db', '-f', 'haproxy.cfg', ...args], foreign);
    try {
      const first = haproxy();
      await until(() => listeners(port).length > 0);
      const socket = listeners(port);
      assert.equal(await ask(port), 'HAProxy');
      const clients = load(port);

      const node = start(process.execPath, [example, `${folder}/stats`, `${folder}/give`], process.env);
      await once(node.stdout!, 'data');
      first.kill('SIGUSR1');
      await ended(first);
      assert.match(await ask(port), /^Node \d+\n$/);
      assert.deepEqual(listeners(port), socket);

      haproxy('-x', `${folder}/give`, '-sf', `${node.pid}`);
      const { code, signal } = await ended(node);
      assert.deepEqual({ code, signal }, { code: 0, signal: null });
      assert.equal(await ask(port), 'HAProxy');
      assert.deepEqual(listeners(port), socket);

      const answers = new Set((await clients.stop()).map((answer) => answer.replace(/\d+/, 'PID')));
      assert.deepEqual(answers, new Set(['HAProxy', 'Node PID\n']));
    } finally {
      const ends = running.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null).map(ended);
      for (const child of running) child.kill();
      await Promise.all(ends);
    }
  });
});
