/**
 * A server that takes over by the library, and tells its parent what moving costs it: the old one from the moment that
 * the successor serves for good until it has drained, the new one until it is asked.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { takeover } from 'fdpasser/takeover';
import { WebSocketServer } from 'ws';

const server = createServer({ keepAliveTimeout: 600_000 }, (_, response) => response.end(String(process.pid)));
new WebSocketServer({ server, perMessageDeflate: false }).on('connection', (webSocket) => {
  webSocket.on('message', () => webSocket.send(String(process.pid)));
});
const delay = monitorEventLoopDelay({ resolution: 1 });
let begun;
let cpu;

function begin() {
  begun = performance.now();
  cpu = process.cpuUsage();
  delay.enable();
}

/** Times in milliseconds. Memory is the highest that the process ever had. */
function spent() {
  const { user, system } = process.cpuUsage(cpu);
  return {
    took: performance.now() - begun,
    cpu: (user + system) / 1000,
    tick: delay.max / 1e6,
    memory: Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024,
  };
}

const [control, port] = process.argv.slice(2);
const serving = await takeover(control, { probation: 300 });
serving.listen('web', server, { port: Number(port), host: '127.0.0.1' });
serving.on('serving', () => {
  begin();
  process.send({ serves: true });
});
serving.on('handover', begin);
serving.on('drained', () => process.send({ drained: spent() }, () => process.disconnect()));
process.on('message', () => process.send({ moved: spent() }));
process.on('SIGTERM', () => process.exit());
await serving.ready();
