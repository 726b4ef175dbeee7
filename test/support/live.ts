import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request as requestHttp, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { socketpair } from 'fdpasser';
import { ended, startChild, type Ended } from './child.js';
import { until } from './descriptors.js';
import { isStopped } from './takeover.js';

type Said = Record<string, unknown>;

/** One of two processes that move live connections to each other: a program that calls `serveAndMove`. */
export class LiveProcess {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  readonly port: Promise<number>;
  /** Messages that it has sent by itself. */
  readonly said: Said[] = [];
  readonly #asked = new Map<string, (value: unknown) => void>();

  constructor(name: string, peer: { readonly fd: number }, env: Record<string, string>) {
    this.child = startChild(name, { peer, env });
    this.ended = ended(this.child);
    this.port = this.#answer('port');
    this.child.on('message', (said: Said) => {
      for (const [name, value] of Object.entries(said)) {
        this.#asked.get(name)?.(value);
        if (!this.#asked.delete(name)) this.said.push(said);
        return;
      }
    });
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** Sends a command of the program's own, and resolves with the answer. */
  ask<T>(command: string, name: string): Promise<T> {
    const answer = this.#answer<T>(name);
    this.child.send(command);
    return answer;
  }

  /** Resolves when it has said something of this name by itself so often. */
  async says(name: string, times = 1): Promise<void> {
    await until(() => this.said.filter((each) => name in each).length >= times);
  }

  /** Moves all connections that can move. Resolves with how many have moved. */
  leave(): Promise<number> {
    return this.ask('leave', 'moved');
  }

  /** Waits until it has so many connections. */
  async has(connections: number): Promise<void> {
    const deadline = performance.now() + 60_000;
    for (let count = -1; count !== connections; count = await this.connections())
      assert.ok(performance.now() < deadline, `${count} connections, and not ${connections}`);
  }

  connections(): Promise<number> {
    return this.ask('count', 'connections');
  }

  /** Closes in the way of a server that moves nothing. */
  closeNaively(): Promise<boolean> {
    return this.ask('close naively', 'closed');
  }

  async close(): Promise<void> {
    this.child.send('close');
    const { code, signal, stderr } = await this.ended;
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
  }

  #answer<T>(name: string): Promise<T> {
    return new Promise((resolve) => this.#asked.set(name, resolve as (value: unknown) => void));
  }
}

/** Runs `body` with two processes of the program. */
export async function withTwo(
  name: string,
  body: (one: LiveProcess, other: LiveProcess) => Promise<void>,
  env: Record<string, string> = {},
): Promise<void> {
  const [a, b] = socketpair();
  const one = new LiveProcess(name, a, env);
  const other = new LiveProcess(name, b, env);
  a.close();
  b.close();
  try {
    await Promise.all([one.port, other.port]);
    await body(one, other);
  } catch (error) {
    for (const { child } of [one, other]) child.kill('SIGKILL');
    throw error;
  }
}

/** Runs `body` while a process is stopped. */
export async function whileStopped({ child }: LiveProcess, body: () => Promise<void>): Promise<void> {
  child.kill('SIGSTOP');
  await until(() => isStopped(child.pid!));
  await body();
  child.kill('SIGCONT');
}

/** Clients with one keep-alive connection each, that ask without a pause, until an error. */
export class HttpLoad {
  answers = 0;
  /** Connections that were made. */
  connections = 0;
  readonly errors: string[] = [];
  /** How often each process answered. */
  readonly by = new Map<number, number>();
  #stopped = false;
  readonly #clients: Promise<void>[];
  readonly #agents: Agent[];

  constructor(port: number, clients: number) {
    this.#agents = Array.from({ length: clients }, () => new Agent({ keepAlive: true, maxSockets: 1 }));
    this.#clients = this.#agents.map((agent, client) => this.#ask(port, agent, client));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#clients);
    for (const agent of this.#agents) agent.destroy();
  }

  async #ask(port: number, agent: Agent, client: number): Promise<void> {
    const seen = new WeakSet<object>();
    for (let i = 0; !this.#stopped; i++) {
      const body = i % 5 === 0 ? Buffer.alloc((i * 997) % 200_000, 'b') : undefined;
      const path = `/${client}/${i}?wait=${i % 7 === 0 ? 3 : 0}`;
      try {
        const outgoing = requestHttp({
          port,
          host: '127.0.0.1',
          path,
          agent,
          method: body === undefined ? 'GET' : 'POST',
        });
        outgoing.once('socket', (socket) => {
          if (!seen.has(socket)) this.connections++;
          seen.add(socket);
        });
        outgoing.end(body);
        const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
        const answer = await text(response);
        if (answer !== `${path} ${body?.length ?? 0}`) this.errors.push(`answer '${answer}' for ${path}`);
        const pid = Number(response.headers.pid);
        this.by.set(pid, (this.by.get(pid) ?? 0) + 1);
        this.answers++;
      } catch (error) {
        this.errors.push((error as NodeJS.ErrnoException).code ?? (error as Error).message);
        return;
      }
    }
  }
}
