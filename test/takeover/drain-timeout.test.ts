import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import http2, { type ClientHttp2Session } from 'node:http2';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ended, startChild, type Ended } from '../support/child.js';
import { freePort } from '../support/connection.js';
import { inFolder, until } from '../support/descriptors.js';
import { RawWebSocket } from '../support/raw-websocket.js';
import { test, testInFull } from '../support/test.js';
import { WebSocket } from '../support/ws.js';

/** That of `children/hanging.ts`. Milliseconds. */
const DRAIN_TIMEOUT = 1500;

/** A request over HTTP/2 whose response never ends, and what its client hears. */
class EndlessStream {
  readonly session: ClientHttp2Session;
  readonly heard: string[] = [];
  ended = false;

  constructor(port: number) {
    this.session = http2.connect(`http://127.0.0.1:${port}`);
    this.session.on('goaway', (code: number) => this.heard.push(`GOAWAY ${code}`));
    this.session.on('error', (error) => this.heard.push(error.message));
    const stream = this.session.request({ ':path': '/' });
    stream.on('data', () => this.heard.push('begun'));
    stream.on('error', (error) => this.heard.push(error.message));
    stream.on('aborted', () => this.heard.push('aborted'));
    stream.on('close', () => {
      this.heard.push(`closed with ${stream.rstCode}`);
      this.ended = true;
    });
  }
}

async function endlessResponse(port: number): Promise<IncomingMessage> {
  const [response] = (await once(http.get({ port, host: '127.0.0.1' }), 'response')) as [IncomingMessage];
  response.on('error', () => {});
  await once(response, 'data');
  return response;
}

interface Hanging {
  child: ChildProcess;
  end: Promise<Ended>;
}

/** Runs `body` with what starts processes whose clients never end. */
async function withHanging(
  body: (start: (control?: string) => Promise<Hanging>, ports: [number, number], folder: string) => Promise<void>,
): Promise<void> {
  const started: Hanging[] = [];
  const ports: [number, number] = [await freePort(), await freePort()];
  const start = async (control?: string): Promise<Hanging> => {
    const child = startChild('takeover/hanging', { args: [...ports.map(String), ...(control ? [control] : [])] });
    const hanging = { child, end: ended(child) };
    started.push(hanging);
    await once(child.stdout!, 'data');
    return hanging;
  };
  try {
    await inFolder((folder) => body(start, ports, folder));
  } finally {
    for (const { child } of started) child.kill('SIGKILL');
    await Promise.all(started.map(({ end }) => end));
  }
}

test('what still hangs after drainTimeout is ended as its protocol does, and the old process ends by itself', () =>
  withHanging(async (start, [web, second], folder) => {
    const control = join(folder, 'control');
    const old = await start(control);
    const response = await endlessResponse(web);
    const stream = new EndlessStream(second);
    const compressed = new WebSocket(`ws://127.0.0.1:${web}/`, { perMessageDeflate: true });
    const closed = once(compressed, 'close') as Promise<[number]>;
    const fragments = await new RawWebSocket(web, {}).open();
    await until(() => compressed.readyState === 1 && stream.heard.includes('begun'));
    const heir = await start(control);
    assert.equal((await closed)[0], 1012);
    assert.ok(!response.destroyed && !stream.ended, 'they have time');
    await until(() => response.destroyed && stream.ended);
    assert.ok(!response.complete);
    assert.equal(stream.heard[0], 'begun');
    assert.equal(stream.heard[1], 'GOAWAY 0');
    assert.equal(stream.heard.at(-1), 'closed with 8'); // CANCEL: no client takes that for the whole response
    await until(() => fragments.frames.length === 2);
    const { opcode, payload } = fragments.frames[1]!;
    assert.deepEqual([opcode, Buffer.from(payload, 'latin1').readUInt16BE()], [8, 1012]);
    fragments.socket.destroy();
    const { code, signal } = await old.end;
    assert.deepEqual([code, signal], [0, null]);
    assert.equal(heir.child.exitCode, null);
  }));

testInFull('a process that closes its servers alone never ends while those clients hang', () =>
  withHanging(async (start, [web, second]) => {
    const old = await start();
    const response = await endlessResponse(web);
    const stream = new EndlessStream(second);
    await until(() => stream.heard.includes('begun'));
    old.child.kill();
    await Promise.race([old.end, sleep(2 * DRAIN_TIMEOUT)]);
    assert.equal(old.child.exitCode ?? old.child.signalCode, null);
    response.destroy();
    stream.session.destroy();
  }),
);
