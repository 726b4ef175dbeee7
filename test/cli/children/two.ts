/** Two processes that listen, of one start: this one, and one that it starts when it listens. */
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';

const { PORT: first, SECOND: second } = process.env;
const server = createServer((_, response) => response.end(`${second ? 'second' : 'first'} ${process.pid}`));
server.listen(Number(second ?? first), '127.0.0.1', second === undefined ? startSecond : report);

function report(): void {
  console.error('the second listens');
}

function startSecond(): void {
  const [script, port] = process.argv.slice(1);
  const child = spawn(process.execPath, [script!], { stdio: 'inherit', env: { ...process.env, SECOND: port } });
  process.on('SIGTERM', () => {
    child.once('exit', () => process.exit(0));
    child.kill();
  });
}
