import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { amount } from '../support/amount.js';
import { ended, startChild, type Ended } from '../support/child.js';
import { until } from '../support/descriptors.js';
import { ask, onSite, type Site } from '../support/takeover.js';
import { test } from '../support/test.js';
import { WebSocket } from '../support/ws.js';

const REGISTER = new URL('../../../dist/bundle/takeover-register.js', import.meta.url).pathname;

/** How often the program is replaced. */
const UPGRADES = amount(5, 2);
const KEEP_ALIVE = 16;
const WEB_SOCKETS = 10;

/** The program, while it runs. */
class Shop {
  readonly child: ChildProcess;
  readonly end: Promise<Ended>;
  stdout = '';

  constructor({ control, port }: Site, register: boolean) {
    const env = { FDPASSER_TAKEOVER: control, FDPASSER_TAKEOVER_PROBATION: '500' };
    const execArgv = register ? ['--import', REGISTER] : [];
    this.child = startChild('takeover/shop', { args: [`${port}`], execArgv, env });
    this.child.stdout!.on('data', (text: unknown) => (this.stdout += String(text)));
    this.end = ended(this.child);
  }

  async listens(): Promise<void> {
    await until(() => this.stdout.includes('listens') || this.child.exitCode !== null);
    if (!this.stdout.includes('listens')) assert.fail((await this.end).stderr);
  }
}

/** What clients see. */
interface Seen {
  errors: string[];
  /** Connections that were made. */
  connections: number;
  answers: number;
}

/** Asks over one connection that is kept. */
async function askAlways(port: number, seen: Seen, signal: AbortSignal): Promise<void> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const connect = agent.createConnection.bind(agent) as (...args: unknown[]) => net.Socket;
  Object.assign(agent, { createConnection: (...args: unknown[]) => (seen.connections++, connect(...args)) });
  while (!signal.aborted) {
    try {
      await ask({ port }, '/', agent);
      seen.answers++;
      await sleep(5);
    } catch (error) {
      seen.errors.push(`ask: ${(error as NodeJS.ErrnoException).code}`);
      await sleep(20);
    }
  }
  agent.destroy();
}

/** Downloads a body of a few seconds, again and again. */
async function download(port: number, seen: Seen, signal: AbortSignal): Promise<void> {
  const whole = Buffer.concat(Array.from({ length: 60 }, (_, part) => Buffer.alloc(10_000, part)));
  while (!signal.aborted) {
    try {
      const request = http.get({ port, host: '127.0.0.1', path: '/download', agent: false });
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      const body = Buffer.concat((await response.toArray()) as Buffer[]);
      if (!body.equals(whole)) seen.errors.push(`download: ${body.length} bytes`);
    } catch (error) {
      seen.errors.push(`download: ${(error as NodeJS.ErrnoException).code}`);
      await sleep(20);
    }
  }
}

/** Uploads a body of a few seconds, again and again. */
async function upload(port: number, seen: Seen, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const hash = createHash('sha256');
    const request = http.request({ port, host: '127.0.0.1', path: '/upload', method: 'POST', agent: false });
    try {
      const answered = once(request, 'response') as Promise<[http.IncomingMessage]>;
      answered.catch(() => {});
      for (let part = 0; part < 60; part++) {
        const bytes = Buffer.alloc(10_000, part);
        hash.update(bytes);
        request.write(bytes);
        await sleep(50);
      }
      request.end();
      const [response] = await answered;
      const body = Buffer.concat((await response.toArray()) as Buffer[]);
      if (body.toString() !== hash.digest('hex')) seen.errors.push(`upload: ${body.toString()}`);
    } catch (error) {
      seen.errors.push(`upload: ${(error as NodeJS.ErrnoException).code}`);
      await sleep(20);
    }
  }
}

/** One WebSocket on which both sides count. */
class Counting {
  readonly webSocket: InstanceType<typeof WebSocket>;
  ended: number | undefined;
  /** How many of each server's frames have come: the next must have that number. */
  readonly counted = new Map<string, number>();
  readonly #seen: Seen;
  #sent = 0;
  #echoed = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(port: number, name: number, seen: Seen) {
    this.#seen = seen;
    this.webSocket = new WebSocket(`ws://127.0.0.1:${port}/${name}`, { perMessageDeflate: false });
    this.webSocket.on('error', (error) => seen.errors.push(`WebSocket: ${error.message}`));
    this.webSocket.on('close', (code) => {
      this.ended = code;
      clearInterval(this.#timer);
    });
    this.webSocket.on('message', (data) => this.#hear(data.toString()));
    this.#timer = setInterval(() => {
      if (this.webSocket.readyState === 1) this.webSocket.send(String(this.#sent++));
    }, 10);
  }

  #hear(text: string): void {
    const [first, , number] = text.split(' ');
    const expected = first === 'echo' ? `echo ${this.#echoed++}` : `${first} counts ${this.counted.get(first!) ?? 0}`;
    if (first !== 'echo') this.counted.set(first!, Number(number) + 1);
    if (text !== expected) this.#seen.errors.push(`WebSocket: '${text}' and not '${expected}'`);
  }

  /** Sends nothing more, waits for what is due, and closes it. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await until(() => this.#echoed === this.#sent || this.ended !== undefined);
    if (this.ended !== undefined) this.#seen.errors.push(`WebSocket: ended with ${this.ended}`);
    this.webSocket.close();
    if (this.ended === undefined) await once(this.webSocket, 'close');
  }
}

/** Runs `body` while clients do all of that. */
async function underLoad({ port }: Site, body: () => Promise<void>): Promise<{ seen: Seen; webSockets: Counting[] }> {
  const seen: Seen = { errors: [], connections: 0, answers: 0 };
  const stop = new AbortController();
  const loops = Array.from({ length: KEEP_ALIVE }, () => askAlways(port, seen, stop.signal));
  loops.push(download(port, seen, stop.signal), upload(port, seen, stop.signal));
  const webSockets = Array.from({ length: WEB_SOCKETS }, (_, name) => new Counting(port, name, seen));
  try {
    await until(() => webSockets.every(({ counted }) => counted.size > 0) && seen.answers > 100);
    await body();
  } finally {
    stop.abort();
    for (const webSocket of webSockets) await webSocket.stop();
    await Promise.all(loops);
  }
  return { seen, webSockets };
}

async function withShops(body: (site: Site, start: (register: boolean) => Shop) => Promise<void>): Promise<void> {
  const shops: Shop[] = [];
  await onSite(async (site) => {
    try {
      await body(site, (register) => {
        const shop = new Shop(site, register);
        shops.push(shop);
        return shop;
      });
    } finally {
      for (const { child } of shops) child.kill('SIGKILL');
      await Promise.all(shops.map(({ end }) => end));
    }
  });
}

test('clients of an unmodified program of express and ws notice none of its upgrades', () =>
  withShops(async (site, start) => {
    let shop = start(true);
    const ends: Promise<Ended>[] = [];
    await shop.listens();
    const { seen, webSockets } = await underLoad(site, async () => {
      for (let upgrade = 0; upgrade < UPGRADES; upgrade++) {
        const heir = start(true);
        await heir.listens();
        const { code, signal, stderr } = await shop.end;
        assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
        ends.push(shop.end);
        shop = heir;
      }
    });
    assert.deepEqual(seen.errors, []);
    assert.equal(seen.connections, KEEP_ALIVE);
    for (const { stdout } of await Promise.all(ends)) {
      const lines = stdout.split('\n').filter((line) => line.startsWith('{'));
      assert.equal(lines.length, WEB_SOCKETS);
      for (const line of lines) {
        const { client, code, pid, sent } = JSON.parse(line) as Record<'client' | 'code' | 'pid' | 'sent', number>;
        assert.equal(code, 1012);
        assert.equal(webSockets[Number(String(client).slice(1))]!.counted.get(String(pid)) ?? 0, sent);
      }
    }
  }));

test('clients of the same program notice a plain restart', () =>
  withShops(async (site, start) => {
    const shop = start(false);
    await shop.listens();
    const { seen } = await underLoad(site, async () => {
      shop.child.kill();
      await shop.end;
      await start(false).listens();
    });
    assert.ok(seen.connections > KEEP_ALIVE);
    for (const what of ['ask', 'download', 'upload', 'WebSocket'])
      assert.ok(
        seen.errors.some((error) => error.startsWith(what)),
        what,
      );
  }));
