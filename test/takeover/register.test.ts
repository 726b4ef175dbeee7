import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ended, type Ended } from '../support/child.js';
import { freePort } from '../support/connection.js';
import { until } from '../support/descriptors.js';
import { ask, onSite, type Site } from '../support/takeover.js';
import { test } from '../support/test.js';

const REGISTER = fileURLToPath(new URL('../../../dist/bundle/takeover-register.js', import.meta.url));

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
  'handles-sigterm.cjs': `const server = require('node:http').createServer((request, response) => response.end(String(process.pid)));
server.listen(process.argv[2], '127.0.0.1', () => console.log('listens'));
process.on('SIGTERM', () => server.close((error) => process.exit(error ? 9 : 5)));
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

/** One of them, while it runs. */
class Plain {
  readonly child: ChildProcess;
  readonly end: Promise<Ended>;
  said = '';

  constructor({ folder, control, port }: Site, name: keyof typeof PROGRAMS, register = true, more = {}) {
    const script = join(folder, name);
    writeFileSync(script, PROGRAMS[name]);
    const flags = register ? ['--import', REGISTER] : [];
    const args = [...flags, script, `${port}`, join(folder, 'path')];
    const taken = { FDPASSER_TAKEOVER: control, FDPASSER_TAKEOVER_PROBATION: '500' };
    const env = { ...process.env, ...taken, ...more };
    this.child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout!.on('data', (chunk: unknown) => (this.said += String(chunk)));
    this.end = ended(this.child);
  }

  get pid(): string {
    return `${this.child.pid}`;
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.end;
  }

  async listens(): Promise<void> {
    await until(() => this.said.includes('listens') || this.child.exitCode !== null);
    assert.match(this.said, /listens/);
  }
}

/** Runs two of them one after the other while a client asks. */
async function replaced(site: Site, name: keyof typeof PROGRAMS, body: (old: Plain, heir: Plain) => Promise<void>) {
  const started: Plain[] = [];
  try {
    const old = new Plain(site, name);
    started.push(old);
    await old.listens();
    const clients = site.load();
    await clients.answers(5);
    const heir = new Plain(site, name);
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

test('an unmodified CommonJS program is replaced without an error, and ends with 0', () =>
  onSite((site) =>
    replaced(site, 'app.cjs', async (old) => {
      assert.deepEqual(await old.end, { code: 0, signal: null, stdout: 'listens\n', stderr: '' });
    }),
  ));

test('an unmodified ESM program is replaced with its second server, which listens later at a path', () =>
  onSite((site) =>
    replaced(site, 'app.mjs', async (old, heir) => {
      assert.equal((await old.end).code, 0);
      assert.equal(await ask({ socketPath: join(site.folder, 'path') }), heir.pid);
    }),
  ));

test("a drained program ends by its own handler of SIGTERM, in which its server's close() succeeds", () =>
  onSite((site) =>
    replaced(site, 'handles-sigterm.cjs', async (old) => {
      assert.equal((await old.end).code, 5);
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
    const heir = new Plain(site, 'app.cjs');
    await heir.listens();
    assert.equal(await ask({ port: site.port }), heir.pid);
    process.kill(Number(first), 'SIGKILL');
    heir.child.kill('SIGKILL');
    await Promise.all([end, heir.end]);
  }));

test('the same program without register cannot be started a second time', () =>
  onSite(async (site) => {
    const old = new Plain(site, 'app.cjs', false);
    await old.listens();
    const heir = new Plain(site, 'app.cjs', false);
    assert.match((await heir.end).stderr, /EADDRINUSE/);
    old.child.kill('SIGKILL');
    await old.end;
  }));

for (const name of ['starts-itself.cjs', 'starts-another.cjs'] as const)
  test(`a process that a program started before it listened does not take over from it: ${name}`, () =>
    onSite(async (site) => {
      const program = new Plain(site, name);
      try {
        await program.listens();
        const child = await ask({ socketPath: join(site.folder, 'path') });
        assert.notEqual(child, program.pid);
        assert.equal(await ask({ port: site.port }), program.pid);
        assert.equal(await ask({ socketPath: join(site.folder, 'path') }), child);
      } finally {
        program.child.kill('SIGKILL');
        await program.end;
      }
    }));

test('a program finds the address of its server when Node has it, and can close it before it serves', () =>
  onSite(async (site) => {
    const [second, third] = [await freePort(), await freePort()];
    const env = { SECOND: `${second}`, THIRD: `${third}` };
    const begin = async (register: boolean): Promise<Plain> => {
      const program = new Plain(site, 'addresses.cjs', register, env);
      await program.listens();
      await assert.rejects(ask({ port: third }), /ECONNREFUSED/);
      return program;
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

test('a worker of node:cluster is refused', () =>
  onSite(async (site) => {
    const program = new Plain(site, 'cluster.cjs');
    const { code, stdout } = await program.end;
    assert.equal(stdout, 'ERR_FDPASSER_CLUSTER listens not\n');
    assert.equal(code, 0);
  }));
