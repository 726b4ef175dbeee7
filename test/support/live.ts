import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request as requestHttp, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { socketpair } from 'fdpasser';
import { ended, message, startChild, type Ended } from './child.js';

/** One of two processes that move live connections to each other. */
export class LiveProcess {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  readonly port: Promise<number>;

  constructor(name: string, peer: { readonly fd: number }) {
    this.child = startChild(name, { peer });
    this.ended = ended(this.child);
    this.port = message<{ port: number }>(this.child).then(({ port }) => port);
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** How many have moved, when all have that could. */
  async leave(): Promise<number> {
    this.child.send('leave');
    return (await message<{ moved: number }>(this.child)).moved;
  }

  async connections(): Promise<number> {
    this.child.send('count');
    return (await message<{ connections: number }>(this.child)).connections;
  }

  async close(): Promise<void> {
    this.child.send('close');
    const { code, signal, stderr } = await this.ended;
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
  }
}

/** Runs `body` with two processes of that program. */
export async function withTwo(
  name: string,
  body: (one: LiveProcess, other: LiveProcess) => Promise<void>,
): Promise<void> {
  const [a, b] = socketpair();
  const one = new LiveProcess(name, a);
  const other = new LiveProcess(name, b);
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

/** Clients with one keep-alive connection each, that ask without a pause. */
export class HttpLoad {
  answers = 0;
  /** Connections that were made. */
  connections = 0;
  readonly errors: string[] = [];
  /** Which process answered how often. */
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
      }
    }
  }
}
