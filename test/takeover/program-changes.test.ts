import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../support/descriptors.js';
import { freePort } from '../support/connection.js';
import { Plain } from '../support/plain.js';
import { ask, onSite, type ServerConfig, type Site } from '../support/takeover.js';
import { test } from '../support/test.js';

/** Starts programs one after the other, and none outlives the body. */
async function starting(body: (site: Site, start: (text: string, more?: object) => Promise<Plain>) => Promise<void>) {
  await onSite(async (site) => {
    const started: Plain[] = [];
    try {
      await body(site, async (text, more) => {
        const program = new Plain(site, `${started.length}.cjs`, text, more);
        started.push(program);
        await program.listens();
        return program;
      });
    } finally {
      await Promise.all(started.map((program) => program.kill()));
    }
  });
}

const TRACED = { env: { NODE_DEBUG: 'fdpasser' } };

/** Resolves when a program that is traced has traced this. */
async function tracing({ child }: Plain, word: string): Promise<void> {
  let traced = '';
  child.stderr!.on('data', (text: unknown) => (traced += String(text)));
  await until(() => traced.includes(word) || child.exitCode !== null);
}

const CHANGES_FOLDER = `const http = require('node:http');
const server = http.createServer((request, response) => response.end(String(process.pid)));
server.listen(process.argv[2], '127.0.0.1', () => {
  process.chdir('data');
  console.log('listens');
});
process.on('SIGUSR2', () => server.close());
`;

test('a relative control path is that of the folder in which a program started, whatever its folder is later', () =>
  starting(async ({ folder, port }, start) => {
    mkdirSync(join(folder, 'data'));
    const others = join(folder, 'data/control');
    writeFileSync(others, 'of somebody else');
    const more = { cwd: folder, env: { FDPASSER_TAKEOVER: 'control' } };
    const old = await start(CHANGES_FOLDER, more);
    const heir = await start(CHANGES_FOLDER, more);
    assert.equal((await old.end).code, 0);
    assert.equal(await ask({ port }), heir.pid);
    heir.child.kill('SIGUSR2');
    await heir.end;
    assert.equal(readFileSync(others, 'utf8'), 'of somebody else');
    assert.equal(existsSync(join(folder, 'control')), false);
  }));

for (const host of ['0:0:0:0:0:0:0:1', '::FFFF:127.0.0.1', '0::0'])
  test(`a program that writes its address as ${host} is replaced`, () =>
    starting(async ({ port }, start) => {
      const text = `const http = require('node:http');
const server = http.createServer((request, response) => response.end(String(process.pid)));
server.listen(process.argv[2], '${host}', () => console.log('listens'));
`;
      const old = await start(text);
      const heir = await start(text);
      assert.equal((await old.end).code, 0);
      const answer = await (await fetch(`http://[${host}]:${port}`)).text();
      assert.equal(answer, heir.pid);
    }));

const LISTENS_AGAIN = `const http = require('node:http');
const answer = (request, response) => response.end(String(process.pid));
const [port, path] = process.argv.slice(2);
const first = http.createServer(answer);
const second = http.createServer(answer);
first.listen(port, '127.0.0.1', () => second.listen(path, () => console.log('listens')));
process.on('SIGUSR2', () => first.close(() => first.listen(port, '127.0.0.1', () => console.log('again'))));
`;

test('a new program may close one of its servers in the probation, and have it listen again', () =>
  starting(async ({ folder, port }, start) => {
    const probation = { env: { FDPASSER_TAKEOVER_PROBATION: '3000' } };
    const old = await start(LISTENS_AGAIN, probation);
    const heir = await start(LISTENS_AGAIN, probation);
    heir.child.kill('SIGUSR2');
    await heir.says('again');
    assert.equal(await ask({ port }), heir.pid);
    assert.equal((await old.end).code, 0);
    assert.equal(await ask({ port }), heir.pid);
    assert.equal(await ask({ socketPath: join(folder, 'path') }), heir.pid);
  }));

test('a listener that a program asks for right after confirm() goes on there in each generation', () =>
  onSite(async ({ port, start }) => {
    const second = await freePort();
    const listeners: ServerConfig['listeners'] = ['web', 'admin'].map((name, index) => ({
      name,
      kind: 'http',
      options: { port: [port, second][index], host: '127.0.0.1' },
    }));
    for (let generation = 0; generation < 5; generation++) {
      const serving = start({ listeners }, 'takeover/confirms');
      await serving.tells('done');
      assert.equal(await ask({ port: second }), `${serving.pid}`);
    }
  }));

/** It has a second server listen at a path when it gets SIGUSR2. A request for `/long` ends at SIGUSR1. */
const LISTENS_LATE = `const http = require('node:http');
const [port, path] = process.argv.slice(2);
const answer = (request, response) => {
  if (request.url === '/long') process.once('SIGUSR1', () => response.end(process.pid + ' long'));
  else response.end(String(process.pid));
};
const first = http.createServer(answer);
const second = http.createServer(answer);
first.listen(port, '127.0.0.1', () => console.log('listens'));
process.on('SIGUSR2', () => second.listen(path, () => console.log('late at ' + second.address())));
process.on('exit', () => console.log('exits'));
`;

test("what a draining process listens on later is the successor's, and its clients are served to their end", () =>
  starting(async ({ folder, port }, start) => {
    const socketPath = join(folder, 'path');
    const old = await start(LISTENS_LATE, TRACED);
    const drains = tracing(old, 'drains');
    const long = ask({ port }, '/long');
    await ask({ port });
    const heir = await start(LISTENS_LATE);
    await drains;
    old.child.kill('SIGUSR2');
    await old.says(`late at ${socketPath}`);
    await assert.rejects(ask({ socketPath }), { code: 'ENOENT' });
    heir.child.kill('SIGUSR2');
    await heir.says(`late at ${socketPath}`);
    assert.equal(await ask({ socketPath }), heir.pid);
    old.child.kill('SIGUSR1');
    assert.equal(await long, `${old.pid} long`);
    assert.equal((await old.end).code, 0);
    assert.equal(await ask({ socketPath }), heir.pid);
  }));

/** Its server closes at SIGUSR2, and `next` listens there. A request for `/long` ends at SIGUSR1. */
const closesAndListens = (next: string): string => `const http = require('node:http');
const answer = (request, response) => {
  if (request.url === '/long') process.once('SIGUSR1', () => response.end(process.pid + ' long'));
  else response.end(String(process.pid));
};
const server = http.createServer(answer);
server.listen(process.argv[2], '127.0.0.1', () => console.log('listens'));
process.on('SIGUSR2', () => {
  server.close();
  const next = ${next};
  next.listen(process.argv[2], '127.0.0.1', () => console.log('again'));
});
`;

for (const [name, next] of [
  ['listened again', 'server'],
  ['another listened there', 'http.createServer(answer)'],
] as const) {
  const text = closesAndListens(next);

  test(`a request that began before its server closed and ${name} is answered in a takeover`, () =>
    starting(async ({ port }, start) => {
      const old = await start(text, TRACED);
      const drains = tracing(old, 'drains');
      const long = ask({ port }, '/long');
      await ask({ port });
      old.child.kill('SIGUSR2');
      await old.says('again');
      assert.equal(await ask({ port }), old.pid);
      await start(text);
      await drains;
      await Promise.race([tracing(old, 'has drained'), sleep(500)]); // it would end now if it forgot its client
      old.child.kill('SIGUSR1');
      assert.equal(await long, `${old.pid} long`);
      assert.equal((await old.end).code, 0);
    }));

  test(`a request is answered that began in a process whose server, while it drains, closed and ${name}`, () =>
    starting(async ({ port }, start) => {
      const old = await start(text, TRACED);
      const drains = tracing(old, 'drains');
      const long = ask({ port }, '/long');
      await ask({ port });
      const heir = await start(text);
      await drains;
      old.child.kill('SIGUSR2');
      await old.says('again');
      assert.equal(await ask({ port }), heir.pid);
      old.child.kill('SIGUSR1');
      assert.equal(await long, `${old.pid} long`);
      assert.equal((await old.end).code, 0);
    }));
}

/** Its datagram socket closes at SIGUSR2, and another is bound there. A request for `/long` ends at SIGUSR1. */
const CLOSES_AND_BINDS = `const dgram = require('node:dgram');
const http = require('node:http');
const [port] = process.argv.slice(2);
const bind = (done) => {
  const socket = dgram.createSocket('udp4').bind(port, '127.0.0.1', done);
  process.once('SIGUSR2', () => {
    socket.close();
    bind(() => console.log('again'));
  });
};
const server = http.createServer((request, response) => {
  if (request.url === '/long') process.once('SIGUSR1', () => response.end(process.pid + ' long'));
  else response.end(String(process.pid));
});
bind(() => server.listen(port, '127.0.0.1', () => console.log('listens')));
`;

test('a datagram socket that is bound where another has just closed is handed over', () =>
  starting(async (_, start) => {
    const old = await start(CLOSES_AND_BINDS);
    old.child.kill('SIGUSR2');
    await old.says('again');
    await start(CLOSES_AND_BINDS);
    const { code, stderr } = await old.end;
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  }));

test('a datagram socket that a draining process binds is bound in name only, and its clients are served', () =>
  starting(async ({ port }, start) => {
    const old = await start(CLOSES_AND_BINDS, TRACED);
    const drains = tracing(old, 'drains');
    const long = ask({ port }, '/long');
    await ask({ port });
    await start(CLOSES_AND_BINDS);
    await drains;
    old.child.kill('SIGUSR2');
    await old.says('again');
    old.child.kill('SIGUSR1');
    assert.equal(await long, `${old.pid} long`);
    assert.equal((await old.end).code, 0);
  }));

const CLOSES = `const server = require('node:http').createServer((request, response) => response.end(String(process.pid)));
server.keepAliveTimeout = 60_000;
server.listen(process.argv[2], '127.0.0.1', () => console.log('listens'));
process.on('SIGUSR2', () => server.close());
`;

test('idle connections move although the old program closes its server in the probation', () =>
  starting(async ({ port }, start) => {
    const agent = new Agent({ keepAlive: true });
    const old = await start(CLOSES, TRACED);
    const drains = tracing(old, 'drains');
    await Promise.all(Array.from({ length: 5 }, () => ask({ port }, '/', agent)));
    await until(() => Object.values(agent.freeSockets)[0]?.length === 5);
    const sockets = new Set(Object.values(agent.freeSockets)[0]);
    const heir = await start(CLOSES);
    old.child.kill('SIGUSR2');
    await drains;
    assert.equal((await old.end).code, 0);
    const answers = await Promise.all([...sockets].map(() => ask({ port }, '/', agent)));
    assert.deepEqual(new Set(answers), new Set([heir.pid]));
    await until(() => Object.values(agent.freeSockets)[0]?.length === 5);
    assert.ok(Object.values(agent.freeSockets)[0]!.every((socket) => sockets.has(socket)));
    agent.destroy();
  }));

/** It removes what is at its path, and binds it anew. The second process ends at SIGUSR2. */
const TAKES_PATH = `const http = require('node:http');
const path = process.argv[3];
const server = http.createServer((request, response) => response.end(String(process.pid)));
require('node:fs').rmSync(path, { force: true });
server.listen(path, () => console.log('listens'));
process.on('SIGUSR2', () => process.exit(1));
`;

test('an old process is at its path again after a successor that has bound that anew fails', () =>
  starting(async ({ folder }, start) => {
    const socketPath = join(folder, 'path');
    const probation = { env: { FDPASSER_TAKEOVER_PROBATION: '60000' } };
    const old = await start(TAKES_PATH, { env: { ...probation.env, ...TRACED.env } });
    const serves = tracing(old, 'serves again');
    const heir = await start(TAKES_PATH, probation);
    assert.equal(await ask({ socketPath }), heir.pid);
    heir.child.kill('SIGUSR2');
    await heir.end;
    await serves;
    assert.equal(await ask({ socketPath }), old.pid);
    const next = await start(TAKES_PATH);
    assert.equal(await ask({ socketPath }), next.pid);
    assert.equal((await old.end).code, 0);
  }));

test('a path has the mode, and is in the folder, that were those of the call of listen()', () =>
  starting(async ({ folder }, start) => {
    const text = `const server = require('node:http').createServer((request, response) => response.end());
const before = process.umask(0);
server.listen('own', () => console.log('listens'));
process.umask(before);
process.chdir('/');
`;
    await start(text, { cwd: folder });
    assert.equal(statSync(join(folder, 'own')).mode & 0o777, 0o777);
  }));

test('of two servers that listen at one address the second gets EADDRINUSE, as without register', () =>
  starting(async ({ port }, start) => {
    const text = `const http = require('node:http');
const [first, second] = [1, 2].map((number) => {
  const server = http.createServer((request, response) => response.end(String(number)));
  server.on('error', ({ code, port }) => console.log(number, code, port));
  server.on('listening', () => console.log(number, 'listens'));
  return server;
});
first.listen(process.argv[2], '127.0.0.1');
second.listen(process.argv[2], '127.0.0.1');
`;
    const plain = await start(text, { register: false });
    await plain.says('EADDRINUSE');
    await plain.kill();
    const program = await start(text);
    await program.says('EADDRINUSE');
    assert.equal(await ask({ port }), '1');
    assert.deepEqual(program.said.split('\n').toSorted(), plain.said.split('\n').toSorted());
  }));
