/** Runs the programs of docs/guides unchanged, each in a folder of its own. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get as request, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { ended, type Ended } from '../support/child.js';
import { inFolder, until } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { freePort } from '../support/connection.js';
import { test } from '../support/test.js';

const guides = fileURLToPath(new URL('../../../docs/guides', import.meta.url));

/** The programs of a guide: what follows a line that begins with a file's name. */
const PROGRAM = /^\*\*`([\w-]+\.(?:js|py))`\*\*[^\n]*(?:\n[^\n]+)*\n\n```(?:js|python)\n(.*?)^```$/gms;

/** Writes the programs of a guide into one folder, and returns the folder. */
function unpack(name: string): string {
  const folder = fileURLToPath(new URL(`../../guides/${name}`, import.meta.url));
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const programs = [...readFileSync(`${guides}/${name}.md`, 'utf8').matchAll(PROGRAM)];
  assert.ok(programs.length > 0, `${name} has a program`);
  for (const [, file, content] of programs) writeFileSync(`${folder}/${file}`, content!);
  return folder;
}

/** A program of a guide, while it runs. */
class Program {
  readonly #child: ChildProcess;
  readonly #end: Promise<Ended>;
  readonly lines: string[] = [];
  #warnings = '';

  constructor(command: string, ...args: string[]) {
    this.#child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#end = ended(this.#child);
    this.#child.stderr!.on('data', (chunk: unknown) => (this.#warnings += String(chunk)));
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.lines.push(line));
  }

  static ofGuide(guide: string, file: string, ...args: string[]): Program {
    return new Program(process.execPath, `${unpack(guide)}/${file}`, ...args);
  }

  /** The first group of the first line that matches. */
  async says(pattern: RegExp): Promise<string> {
    await until(() => this.lines.some((line) => pattern.test(line)) || this.#child.exitCode !== null);
    const line = this.lines.find((one) => pattern.test(one));
    assert.ok(line !== undefined, `it ended, and did not say ${pattern}`);
    return pattern.exec(line)![1]!;
  }

  async port(): Promise<number> {
    return Number(await this.says(/port (\d+)$/));
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Waits for a line on standard error. */
  async warns(pattern: RegExp): Promise<void> {
    await until(() => pattern.test(this.#warnings));
  }

  /** Waits for its end, which must be in order and, without `warnings`, with nothing on standard error. */
  async over(warnings = /^$/): Promise<string> {
    const { code, signal, stdout, stderr } = await this.#end;
    assert.match(stderr, warnings);
    assert.deepEqual({ code, signal }, { code: 0, signal: null });
    return stdout;
  }

  get pid(): number {
    return this.#child.pid!;
  }
}

/** A server's answer to a request over a new connection. */
async function ask(port: number, path = '/'): Promise<string> {
  const asking = request({ port, path, agent: false, host: '127.0.0.1' });
  const [response] = (await once(asking, 'response')) as [IncomingMessage];
  return text(response);
}

/**
 * Makes requests until there are enough different answers. A process that is killed, or stops, resets connections that
 * it has accepted. No connection may be refused.
 */
async function answers(port: number, enough: (found: Set<string>) => boolean): Promise<Set<string>> {
  const found = new Set<string>();
  while (!enough(found))
    await ask(port).then(
      (answer) => found.add(answer.trim()),
      (error: NodeJS.ErrnoException) => assert.equal(error.code, 'ECONNRESET'),
    );
  return found;
}

test('the guide to choosing shows a descriptor over each of the three classes', async () => {
  const program = Program.ofGuide('choosing', 'parent.js');
  const said = (await program.over()).trim().split('\n').toSorted();
  assert.deepEqual(said, ['FdChannel parent.js file', 'FdPasser file', 'FdStream bytes', 'FdStream file']);
});

test('the keeper of the guide to privilege separation gives its worker what is on the list, and nothing else', async () => {
  await inFolder(async (folder) => {
    const secret = `${folder}/secret`;
    writeFileSync(secret, 'the secret', { mode: 0o600 });
    const program = Program.ofGuide('privilege-separation', 'keeper.js', secret);
    const user = process.getuid!() === 0 ? 65534 : process.getuid!();
    assert.deepEqual((await program.over()).trim().split('\n'), [
      `worker, user ${user}: the secret`,
      'worker: /etc/shadow: not on the list',
    ]);
  });
});

test('the port of the guide to one listener stays open while a worker is killed and replaced', async () => {
  const program = Program.ofGuide('shared-listener', 'parent.js', '0');
  const port = await program.port();
  const [first] = await answers(port, (found) => found.size > 0);
  process.kill(Number(first), 'SIGKILL');
  await answers(port, (found) => [...found].filter((pid) => pid !== first).length === 2);
  program.signal('SIGTERM');
  await program.over();
});

test('the guide to a sticky balancer brings a room together, with the early message of a client', async () => {
  const program = Program.ofGuide('sticky-balancer', 'balancer.js', '0');
  const port = await program.port();
  assert.match(await ask(port), /^pages come from \d+\n$/);

  // A client whose first message comes in the same packet as its request: the balancer reads both.
  const eager = connect(port, '127.0.0.1');
  const key = Buffer.alloc(16).toString('base64');
  const headers = `Host: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${key}\r\n`;
  const frame = Buffer.from([0x81, 0x85, 0, 0, 0, 0, ...Buffer.from('early')]);
  eager.write(Buffer.concat([Buffer.from(`GET /room HTTP/1.1\r\n${headers}Sec-WebSocket-Version: 13\r\n\r\n`), frame]));
  let heard = '';
  eager.on('data', (chunk: Buffer) => (heard += chunk.toString('latin1')));
  await until(() => /\d+: early/.test(heard));
  const [, pid] = /(\d+): early/.exec(heard)!;

  const members = [1, 2, 3].map(() => new WebSocket(`ws://127.0.0.1:${port}/room`));
  const told: string[] = [];
  for (const member of members) member.on('message', (data: Buffer) => told.push(String(data)));
  await until(() => members.every((member) => member.readyState === WebSocket.OPEN));
  members[0]!.send('hello');
  await until(() => told.length === 3);
  assert.deepEqual(told, Array(3).fill(`${pid}: hello`));

  eager.destroy();
  program.signal('SIGTERM');
  await program.over();
});

test('the guide to draining hands its port over while a request is under way, and refuses none', async () => {
  const program = Program.ofGuide('draining', 'server.js', '0');
  const port = await program.port();
  const old = await program.says(/^(\d+) listens/);
  const slow = ask(port, '/?wait=1500');
  await ask(port);
  program.signal('SIGUSR2');
  const others = await answers(port, (found) => [...found].some((pid) => pid !== old));
  const pid = [...others].find((pid) => pid !== old);
  assert.equal((await slow).trim(), old);
  await program.says(/^(\d+) has answered everything$/);
  assert.equal((await ask(port)).trim(), pid);
  process.kill(Number(pid), 'SIGTERM');
  await program.over();
});

test('both programs of the guide to memory shared with Python see what the other wrote', async () => {
  needs('python3');
  const program = Program.ofGuide('memfd-python', 'main.js');
  assert.deepEqual((await program.over()).trim().split('\n'), [
    'Node reads 1 2 3 4',
    'Python reads 1.0 4.0 9.0 16.0',
    'The mapping from before shows the same: True',
  ]);
});

test('the guide to multiprocessing.reduction passes a file to Python and back', async () => {
  needs('python3');
  const program = Program.ofGuide('memfd-python', 'reduction.js');
  assert.match(await program.over(), /^Python has descriptor of \d+ bytes\nNode has it back: a file\n$/);
});

test('the guide to zero downtime replaces its server, and the old one ends by itself', () =>
  inFolder(async (folder) => {
    const script = `${unpack('zero-downtime')}/app.js`;
    const port = await freePort();
    const start = (): Program => new Program(process.execPath, script, `${folder}/control`, `${port}`);
    const old = start();
    await old.says(/(serves)$/);
    assert.equal(await ask(port), `${old.pid}\n`);
    const heir = start();
    await heir.says(/(serves)$/);
    assert.equal(await ask(port), `${heir.pid}\n`);
    assert.match(await old.over(), /drained\n$/);
    heir.signal('SIGKILL');
    await assert.rejects(heir.over());
  }));

test('the guide to worker threads answers from both threads of one process', async () => {
  const program = Program.ofGuide('worker-threads', 'main.js', '0');
  const found = await answers(await program.port(), ({ size }) => size === 2);
  assert.deepEqual([...found].toSorted(), ['thread 1', 'thread 2']);
  program.signal('SIGTERM');
  await program.over();
});

test('the guide to socket activation answers over a socket that it was started with', async () => {
  needs('systemd-socket-activate');
  const script = `${unpack('socket-activation')}/server.js`;
  const port = await freePort();
  const program = new Program(
    'systemd-socket-activate',
    '-l',
    `127.0.0.1:${port}`,
    '--fdname=web',
    process.execPath,
    script,
  );
  await program.warns(/^Listening on/m);
  assert.equal(await ask(port), `${program.pid}\n`);
  program.signal('SIGTERM');
  await program.over(/^Listening on .*\n(?:.*\n)*$/);
});

test('the guide from cluster distributes connections in turn, and replaces a worker that dies', async () => {
  const program = Program.ofGuide('from-cluster-and-pm2', 'primary.js', '0');
  const port = await program.port();
  const [first] = await answers(port, ({ size }) => size === 2);
  process.kill(Number(first), 'SIGKILL');
  await answers(port, (found) => [...found].filter((pid) => pid !== first).length === 2);
  program.signal('SIGTERM');
  await program.over();
});

test('every guide is named by a test that runs its program', () => {
  const folder = fileURLToPath(new URL('../../../test', import.meta.url));
  const tests = readdirSync(folder, { encoding: 'utf8', recursive: true })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => readFileSync(`${folder}/${name}`, 'utf8'))
    .join('\n');
  for (const name of readdirSync(guides)) assert.match(tests, new RegExp(`\\b${name.replace('.md', '')}\\b`), name);
});
