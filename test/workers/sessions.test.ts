import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { io, type Socket } from 'socket.io-client';
import type { SuperviseOptions } from 'fdpasser/workers';
import { amount, PATIENCE } from '../support/amount.js';
import { freePort } from '../support/connection.js';
import { until } from '../support/descriptors.js';
import { childFile, SupervisorProcess } from '../support/supervising.js';
import { testInFull } from '../support/test.js';

const WORKERS = 4;
const CLIENTS = amount(40, 12);
/** Milliseconds between an answer and the next question of a client. */
const PAUSE = 50;

/** A client of socket.io over long-polling that asks all the time, over one connection after the other or kept ones. */
class Client {
  answers = 0;
  /** What it has noticed, except that the server has closed the session. */
  readonly errors: string[] = [];
  readonly #socket: Socket;
  readonly #asking: Promise<void>;
  #stopped = false;

  constructor(port: number, keepAlive: boolean, retries: number) {
    const agent = new Agent({ keepAlive });
    this.#socket = io(`http://127.0.0.1:${port}`, {
      transports: ['polling'],
      forceNew: true,
      agent: agent as never, // the types are those for browsers
      reconnectionDelay: 20,
      reconnectionDelayMax: 100,
      retries,
      ackTimeout: 2000,
    });
    this.#socket.on('connect_error', ({ message }) => this.errors.push(message));
    this.#socket.on('disconnect', (reason) => {
      if (!this.#stopped && reason !== 'transport close') this.errors.push(reason);
    });
    this.#asking = this.#ask().catch(({ message }: Error) => void this.errors.push(message));
  }

  async #ask(): Promise<void> {
    while (!this.#stopped) {
      const answer: unknown = await this.#socket.emitWithAck('echo', this.answers);
      if (answer !== this.answers++) this.errors.push(`${String(answer)} is no answer to ${this.answers - 1}`);
      await sleep(PAUSE);
    }
  }

  /** A client that has lost its session may wait for ever for the answer to its last question. */
  async stop(isAnswered: boolean): Promise<void> {
    this.#stopped = true;
    if (isAnswered) await this.#asking;
    this.#socket.disconnect();
  }
}

/** What the clients noticed, how many requests were of an unknown session, and how many workers were killed. */
interface Noticed {
  errors: string[];
  unknown: number;
  killed: number;
}

/** Reloads under load. Sessions that do not end in order need not go on. */
async function reloads(count: number, options: SuperviseOptions, inOrder = true): Promise<Noticed> {
  const port = await freePort();
  await using supervisor = new SupervisorProcess({
    file: childFile('workers/polling'),
    options: { count: WORKERS, peek: {}, patience: PATIENCE, ...options },
    listen: { port, host: '127.0.0.1' },
    byPid: String.raw`^\S+ \S*[?&]sid=(\d+)-`,
  });
  await supervisor.ready(WORKERS);
  const clients = Array.from({ length: CLIENTS }, (_, i) => new Client(port, i % 2 === 0, inOrder ? 100 : 5));
  const goOn = async (): Promise<void> => {
    const enough = clients.map(({ answers }) => answers + 3);
    await until(() => clients.every(({ answers }, i) => answers >= enough[i]!));
  };
  for (let i = 0; i < count; i++) {
    await goOn();
    await supervisor.command('reload');
  }
  await until(() => supervisor.events('exit').length === count * WORKERS);
  if (inOrder) await goOn();
  await Promise.all(clients.map((client) => client.stop(inOrder)));
  const { code, stdout, stderr } = await supervisor.close();
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  const unknown = stdout.split('\n').filter((line) => line === 'error 1').length;
  const killed = supervisor.events('exit').filter(({ exit }) => exit!.signal !== null).length;
  return { errors: clients.flatMap(({ errors }) => errors), unknown, killed };
}

testInFull(
  'sessions of socket.io over long-polling end in order in three reloads of four workers, and lose no message',
  async () => {
    const options = { args: ['retire'], retire: 120_000 }; // a busy machine takes long to end all sessions
    assert.deepEqual(await reloads(amount(3, 1), options), { errors: [], unknown: 0, killed: 0 });
  },
);

testInFull(
  'sessions of workers that do not stay while they retire, the control, become unknown in a reload',
  async () => {
    const { errors, unknown } = await reloads(1, { retire: 1000 }, false);
    assert.ok(errors.length > 0);
    assert.ok(unknown > 0);
  },
);
