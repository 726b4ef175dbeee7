/** A service at a path that answers with its pid, and at SIGHUP has a new process of itself take over. */
import { createServer } from 'node:http';
import { takeover } from 'fdpasser/takeover';

const [control, path] = process.argv.slice(2) as [string, string];
const serving = await takeover(control, { probation: 100 });
serving.listen(
  'web',
  createServer((_, response) => response.end(`${process.pid}`)),
  { path },
);
await serving.ready();
process.on('SIGHUP', () => void serving.upgrade());
