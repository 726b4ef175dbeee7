/**
 * A program that knows nothing of workers. It has several servers listen as its first argument says, and writes into a
 * file what came of it.
 */
import { once } from 'node:events';
import { renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { ask } from '../../support/takeover.js';

const [what, file, ...rest] = process.argv.slice(2) as [keyof typeof programs, string, ...string[]];
const ports = rest.map(Number) as [number, number, number, number];
const events: string[] = [];

function serverOf(name: string): Server {
  const server = createServer((_, response) => void response.setHeader('Connection', 'close').end(name));
  for (const event of ['listening', 'close', 'error'])
    server.on(event, (error?: NodeJS.ErrnoException) => events.push(`${name} ${error?.code ?? event}`));
  return server;
}

const listen = (server: Server, port: number): Promise<unknown> => once(server.listen(port, '127.0.0.1'), 'listening');
const portOf = (server: Server): number => (server.address() as AddressInfo).port;
const answer = (port: number): Promise<string> => ask({ port }).catch(({ code }: NodeJS.ErrnoException) => code!);

const [a, b, c, d, e] = ['a', 'b', 'c', 'd', 'e'].map(serverOf) as [Server, Server, Server, Server, Server];

const programs = {
  async any(): Promise<unknown> {
    await Promise.all([listen(a, 0), listen(b, 0)]);
    return [await answer(portOf(a)), await answer(portOf(b))];
  },
  async same(): Promise<unknown> {
    const [port] = ports;
    await Promise.all([listen(a, port), listen(b, port).catch(() => {})]);
    const answers = [await answer(port)];
    a.close();
    await listen(b, port);
    return [...answers, await answer(port), events.filter((event) => !event.endsWith('ing'))];
  },
  async ended(): Promise<unknown> {
    const controller = new AbortController();
    a.listen(ports[0], '127.0.0.1').close();
    b.listen({ port: ports[1], host: '127.0.0.1', signal: AbortSignal.abort() });
    c.listen({ port: ports[2], host: '127.0.0.1', signal: controller.signal });
    controller.abort();
    d.listen(ports[3], '127.0.0.1');
    let twice: unknown;
    try {
      d.listen(ports[3]);
    } catch (error) {
      twice = (error as NodeJS.ErrnoException).code;
    }
    await listen(e, ports[0]);
    const answers = [];
    for (const port of ports) answers.push(await answer(port));
    return [...answers, twice, events.toSorted()];
  },
  async loose(): Promise<unknown> {
    const all = [
      { backlog: null, ipv6Only: null },
      { backlog: '64', ipv6Only: 1 },
      { backlog: -1 },
      { backlog: false },
    ];
    const answers = [];
    for (const [index, server] of [a, b, c, d].entries()) {
      server.listen({ port: ports[index], host: '127.0.0.1', ...all[index] } as object);
      await once(server, 'listening');
      answers.push(await answer(ports[index]!));
    }
    return answers;
  },
};

const result = await programs[what]();
writeFileSync(`${file}.new`, JSON.stringify(result));
renameSync(`${file}.new`, file);
