import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { Agent, createServer } from 'node:http';
import { join } from 'node:path';
import { ended } from '../support/child.js';
import { freePort } from '../support/connection.js';
import { Plain, REGISTER } from '../support/plain.js';
import { ask, onSite, type Site } from '../support/takeover.js';
import { test, testInFull } from '../support/test.js';

/** Programs that do not use takeover. They answer with their pid. */
const PROGRAMS = {
  'app.cjs': `const http = require('node:http');
const port = Number(process.argv[2]);
http.createServer((request, response) => response.end(String(process.pid))).listen(port, '127.0.0.1', () => console.log('listens'));
`,
  'app.mjs': `import { createServer } from 'node:http';
const answer = (request, response) => response.end(String(process.pid));
const second = createServer(answer);
createServer(answer).listen({ port: Number(process.argv[2]), host: '127.0.0.1' }, () => console.log('listens'));
setTimeout(() => second.listen(process.argv[3]), 100); // later, and at a path
`,
  'removes-its-path.cjs': `const http = require('node:http');
const [port, path] = process.argv.slice(2);
const answer = (request, response) => response.end(String(process.pid));
http.createServer(answer).listen(Number(port), '127.0.0.1', () => {
  require('node:fs').rmSync(path, { force: true });
  http.createServer(answer).listen(path, () => console.log('listens'));
});
`,
  'handles-sigterm.cjs': `const server = require('node:http').createServer((request, response) => response.end(String(process.pid)));
server.listen(process.argv[2], '127.0.0.1', () => console.log('listens'));
process.on('SIGTERM', () => server.close((error) => process.exit(error ? 9 : 5)));
`,
  'only-closes.cjs': `const server = require('node:http').createServer((request, response) => response.end(String(process.pid)));
server.listen(process.argv[2], '127.0.0.1', () => console.log('listens'));
process.once('SIGTERM', () => {
  server.close();
  process.exitCode = 6;
  const timers = process.getActiveResourcesInfo().filter((name) => name === 'Timeout');
  console.log(timers.length, 'timers,', process.listenerCount('SIGTERM'), 'handlers');
});
`,
  'starts-itself.cjs': `const answer = (request, response) => response.end(String(process.pid));
const server = require('node:http').createServer(answer);
process.on('disconnect', () => process.exit());
if (process.send) server.listen(process.argv[3], () => process.send('child listens'));
else {
  const child = require('node:child_process').fork(__filename, process.argv.slice(2)); // before this process listens
  child.on('message', () => server.listen(process.argv[2], '127.0.0.1', () => console.log('listens')));
}
`,
  'starts-another.cjs': `const answer = (request, response) => response.end(String(process.pid));
const server = require('node:http').createServer(answer);
process.on('disconnect', () => process.exit());
if (process.send) process.on('message', () => server.listen(process.argv[3], () => console.log('child listens')));
else {
  const child = require('node:child_process').fork(__filename, process.argv.slice(2)); // before this process listens
  server.listen(process.argv[2], '127.0.0.1', () => child.send('listen'));
}
`,
  'addresses.cjs': `const http = require('node:http');
const said = [];
const [port, path] = process.argv.slice(2);
const second = Number(process.env.SECOND);
let left = 3;
let ended;
function listen(...args) {
  const server = http.createServer((request, response) => response.end(String(process.pid)));
  server.listen(...args);
  said.push(server.listening, server.address());
  server.once('listening', () => {
    said.push(server.listening, server.address());
    if (--left === 0) setImmediate(() => console.log(JSON.stringify([...said, ended]), 'listens'));
  });
  return server;
}
listen(port);
listen(path);
listen(second, '127.0.0.1');
const closed = listen(Number(process.env.THIRD));
try {
  closed.listen(port);
} catch (error) {
  said.push(error.code);
}
closed.close((error) => (ended = error ?? 'closed'));
`,
  'tries-another.cjs': `const http = require('node:http');
const { SECOND, LATER } = process.env;
const server = http.createServer((request, response) => response.end(String(process.pid)));
const next = () => {
  if (LATER) server.close(); // as Node's documentation does it
  server.listen(SECOND, '127.0.0.1');
};
server.on('error', ({ code }) => {
  console.log(code, server.listenerCount('connection'));
  if (LATER) setTimeout(next, LATER);
  else next();
});
server.on('listening', () => console.log('listens', server.address().port, server.listenerCount('close')));
server.listen(process.argv[2], '127.0.0.1');
`,
  'listens-on-demand.cjs': `const http = require('node:http');
const answer = (request, response) => {
  if (request.url !== '/listen') return response.end(String(process.pid));
  const second = http.createServer(answer);
  second.listen(process.env.SECOND, '127.0.0.1', () => response.end('listens at ' + second.address().port));
  second.on('error', ({ code }) => response.end(code));
};
http.createServer({ keepAliveTimeout: 60000 }, answer).listen(process.argv[2], '127.0.0.1', () => console.log('listens'));
`,
  'multicast.cjs': `const socket = require('node:dgram').createSocket('udp4');
const ONE = ['239.7.7.7', '127.0.0.1'];
const OF = ['127.0.0.1', '232.7.7.7', '127.0.0.1'];
socket.on('message', (bytes, { port, address }) => socket.send(process.pid + ' ' + bytes, port, address));
socket.on('listening', () => {
  socket.addMembership(...ONE);
  socket.addSourceSpecificMembership(...OF);
  console.log('listens');
});
process.once('SIGTERM', () => {
  socket.dropMembership(...ONE);
  socket.dropSourceSpecificMembership(...OF);
  socket.close();
});
socket.bind(process.argv[2]);
`,
  'closes.cjs': `const server = require('node:http').createServer();
const closes = (error) => console.log(error?.code ?? 'closed', 'listens not');
const controller = new AbortController();
server.listen({ port: process.argv[2], signal: controller.signal });
server.removeAllListeners('close');
const close = () => {
  if (process.env.BY === 'close()') return server.close(closes);
  server.once('close', closes);
  controller.abort();
};
if (process.env.WHEN === 'at once') close();
else setTimeout(close, Number(process.env.WHEN));
`,
  'cluster.cjs': `const cluster = require('node:cluster');
if (cluster.isPrimary) cluster.fork();
else {
  const server = require('node:http').createServer();
  server.on('error', (error) => {
    console.log(error.code + ' listens not');
    process.exit(0);
  });
  server.listen(process.argv[2], '127.0.0.1', () => console.log('a worker'));
}
`,
};

function program(site: Site, name: keyof typeof PROGRAMS, register = true, env = {}): Plain {
  return new Plain(site, name, PROGRAMS[name], { register, env });
}

/** Runs two of them one after the other while a client asks. */
async function replaced(site: Site, name: keyof typeof PROGRAMS, body: (old: Plain, heir: Plain) => Promise<void>) {
  const started: Plain[] = [];
  try {
    const old = program(site, name);
    started.push(old);
    await old.listens();
    const clients = site.load();
    await clients.answers(5);
    const heir = program(site, name);
    started.push(heir);
    await heir.listens();
    await clients.answers(5);
    assert.equal(await ask({ port: site.port }), heir.pid);
    await body(old, heir);
    await clients.stop();
    assert.deepEqual(clients.errors, []);
  } finally {
    for (const { child } of started) child.kill('SIGKILL');
    await Promise.all(started.map(({ end }) => end));
  }
}

testInFull('an unmodified CommonJS program is replaced without an error, and ends with 0', () =>
  onSite((site) =>
    replaced(site, 'app.cjs', async (old) => {
      assert.deepEqual(await old.end, { code: 0, signal: null, stdout: 'listens\n', stderr: '' });
    }),
  ),
);

test('an unmodified ESM program is replaced with its second server, which listens later at a path', () =>
  onSite((site) =>
    replaced(site, 'app.mjs', async (old, heir) => {
      assert.equal((await old.end).code, 0);
      assert.equal(await ask({ socketPath: join(site.folder, 'path') }), heir.pid);
    }),
  ));

testInFull('a program that removes its path before it listens there is found at the path after a replacement', () =>
  onSite((site) =>
    replaced(site, 'removes-its-path.cjs', async (old, heir) => {
      assert.equal((await old.end).code, 0);
      assert.equal(await ask({ socketPath: join(site.folder, 'path') }), heir.pid);
    }),
  ),
);

test("a drained program ends by its own handler of SIGTERM, in which its server's close() succeeds", () =>
  onSite((site) =>
    replaced(site, 'handles-sigterm.cjs', async (old) => {
      assert.equal((await old.end).code, 5);
    }),
  ));

test('a drained program that only closes its server at SIGTERM ends with that', () =>
  onSite((site) =>
    replaced(site, 'only-closes.cjs', async (old) => {
      const { code, stdout } = await old.end;
      assert.deepEqual({ code, stdout }, { code: 6, stdout: 'listens\n0 timers, 0 handlers\n' });
    }),
  ));

test('a process that listens at a path with its pid, as tsx does, leaves the takeover to its child', () =>
  onSite(async (site) => {
    const script = join(site.folder, 'between.cjs');
    writeFileSync(
      script,
      `const server = require('node:net').createServer().listen(\`${site.folder}/\${process.pid}.pipe\`, () => {
        require('node:child_process').spawn(process.execPath, [process.argv[2], process.argv[3]], { stdio: 'inherit' });
        server.unref();
      });`,
    );
    const app = join(site.folder, 'app.cjs');
    writeFileSync(app, PROGRAMS['app.cjs']);
    const env = {
      ...process.env,
      FDPASSER_TAKEOVER: site.control,
      NODE_OPTIONS: `--import ${REGISTER}`,
      FDPASSER_TAKEOVER_CLAIM: join(site.folder, 'claim'),
    };
    const between = spawn(process.execPath, [script, app, `${site.port}`], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const end = ended(between);
    await once(between.stdout, 'data');
    const first = await ask({ port: site.port });
    assert.notEqual(first, `${between.pid}`);
    const heir = program(site, 'app.cjs');
    await heir.listens();
    assert.equal(await ask({ port: site.port }), heir.pid);
    process.kill(Number(first), 'SIGKILL');
    heir.child.kill('SIGKILL');
    await Promise.all([end, heir.end]);
  }));

test('the same program without register cannot be started a second time', () =>
  onSite(async (site) => {
    const old = program(site, 'app.cjs', false);
    await old.listens();
    const heir = program(site, 'app.cjs', false);
    assert.match((await heir.end).stderr, /EADDRINUSE/);
    old.child.kill('SIGKILL');
    await old.end;
  }));

for (const name of ['starts-itself.cjs', 'starts-another.cjs'] as const)
  test(`a process that a program started before it listened does not take over from it: ${name}`, () =>
    onSite(async (site) => {
      const begun = program(site, name);
      try {
        await begun.listens();
        const child = await ask({ socketPath: join(site.folder, 'path') });
        assert.notEqual(child, begun.pid);
        assert.equal(await ask({ port: site.port }), begun.pid);
        assert.equal(await ask({ socketPath: join(site.folder, 'path') }), child);
      } finally {
        begun.child.kill('SIGKILL');
        await begun.end;
      }
    }));

test('a program finds the address of its server when Node has it, and can close it before it serves', () =>
  onSite(async (site) => {
    const [second, third] = [await freePort(), await freePort()];
    const env = { SECOND: `${second}`, THIRD: `${third}` };
    const begin = async (register: boolean): Promise<Plain> => {
      const begun = program(site, 'addresses.cjs', register, env);
      await begun.listens();
      await assert.rejects(ask({ port: third }), /ECONNREFUSED/);
      return begun;
    };
    const alone = await begin(false);
    await alone.kill();
    const first = await begin(true);
    const heir = await begin(true);
    assert.equal(await ask({ port: second }), heir.pid);
    assert.equal(first.said, alone.said);
    assert.equal(heir.said, alone.said);
    await Promise.all([first.kill(), heir.kill()]);
  }));

for (const BY of ['close()', 'a signal'])
  test(`a program that closes its only server by ${BY} before it has served ends as without register`, () =>
    onSite(async (site) => {
      const plain = program(site, 'closes.cjs', false, { BY, WHEN: 'at once' });
      assert.deepEqual(await plain.end, { code: 0, signal: null, stdout: 'closed listens not\n', stderr: '' });
      const first = program(site, 'closes.cjs', true, { BY, WHEN: 'at once' });
      assert.deepEqual(await first.end, await plain.end);
      await replaced(site, 'app.mjs', async (old, serves) => {
        await old.end; // until then there is another successor
        // It would be ready after a second, because it does not ask for the path.
        for (const WHEN of ['at once', '1', '10', '300']) {
          const { end } = program(site, 'closes.cjs', true, { BY, WHEN });
          assert.deepEqual(await end, await plain.end);
          assert.equal(await ask({ port: site.port }), serves.pid);
          assert.equal(await ask({ socketPath: join(site.folder, 'path') }), serves.pid);
        }
      });
    }));

for (const LATER of ['', '300'])
  test(`a program whose port is in use listens at another ${LATER ? 'later' : 'at once'}, and takes over there`, () =>
    onSite(async (site) => {
      const second = await freePort();
      const other = createServer().listen(site.port, '127.0.0.1');
      await once(other, 'listening');
      const env = { SECOND: `${second}`, LATER };
      const started: Plain[] = [];
      const begin = async (register = true): Promise<Plain> => {
        const begun = program(site, 'tries-another.cjs', register, env);
        started.push(begun);
        await begun.listens();
        return begun;
      };
      try {
        const alone = await begin(false);
        assert.match(alone.said, new RegExp(`^EADDRINUSE \\d+\nlistens ${second} \\d+\n$`));
        await alone.kill();
        const first = await begin();
        const clients = site.load({ port: second });
        await clients.answers(5);
        const heir = await begin();
        await clients.answers(5);
        assert.equal(await ask({ port: second }), heir.pid);
        assert.equal((await first.end).code, 0);
        for (const { said } of [first, heir])
          assert.match(said, new RegExp(`^EADDRINUSE 1\nlistens ${second} \\d+\n$`));
        await clients.stop();
        assert.deepEqual(clients.errors, []);
      } finally {
        await Promise.all(started.map((program) => program.kill()));
        other.close();
      }
    }));

test('a program can listen at more while its successor is in its probation', () =>
  onSite(async (site) => {
    const second = await freePort();
    const env = { SECOND: `${second}`, FDPASSER_TAKEOVER_PROBATION: '60000' };
    const old = program(site, 'listens-on-demand.cjs', true, env);
    await old.listens();
    const agent = new Agent({ keepAlive: true });
    assert.equal(await ask({ port: site.port }, '/', agent), old.pid);
    const heir = program(site, 'listens-on-demand.cjs', true, env);
    try {
      await heir.listens();
      assert.equal(await ask({ port: site.port }), heir.pid);
      assert.equal(await ask({ port: site.port }, '/listen', agent), `listens at ${second}`);
      assert.equal(await ask({ port: second }), old.pid);
      await heir.kill();
      assert.equal(await ask({ port: site.port }), old.pid);
      assert.equal(await ask({ port: second }), old.pid);
      const next = program(site, 'app.cjs');
      await next.listens();
      assert.equal((await old.end).code, 0);
      await assert.rejects(ask({ port: second }), /ECONNREFUSED/);
      await next.kill();
    } finally {
      agent.destroy();
      await Promise.all([old.kill(), heir.kill()]);
    }
  }));

test('a program stays in the groups of multicast that its predecessor has joined, and leaves', () =>
  onSite(async (site) => {
    const client = createSocket('udp4').bind(0, '127.0.0.1');
    await once(client, 'listening');
    client.setMulticastInterface('127.0.0.1');
    const answerTo = async (group: string): Promise<string> => {
      client.send(group, site.port, group);
      const [bytes] = (await once(client, 'message')) as [Buffer];
      return bytes.toString();
    };
    const started: Plain[] = [];
    try {
      for (let version = 0; version < 3; version++) {
        const before = started.at(-1);
        const begun = program(site, 'multicast.cjs');
        started.push(begun);
        await begun.listens();
        const end = await before?.end;
        assert.deepEqual(end, before && { code: 0, signal: null, stdout: 'listens\n', stderr: '' });
        for (const group of ['239.7.7.7', '232.7.7.7']) assert.equal(await answerTo(group), `${begun.pid} ${group}`);
      }
    } finally {
      client.close();
      await Promise.all(started.map((program) => program.kill()));
    }
  }));

test('a worker of node:cluster is refused', () =>
  onSite(async (site) => {
    const begun = program(site, 'cluster.cjs');
    const { code, stdout } = await begun.end;
    assert.equal(stdout, 'ERR_FDPASSER_CLUSTER listens not\n');
    assert.equal(code, 0);
  }));
