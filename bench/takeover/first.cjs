/** Like app.cjs, and tells its parent how much CPU time its main thread had used at the end of each request. */
const { openSync, readSync } = require('node:fs');
const { createServer } = require('node:http');

const schedstat = openSync(`/proc/self/task/${process.pid}/schedstat`);
const bytes = Buffer.alloc(64);
const used = [];

/** Notes the time, in milliseconds: schedstat begins with nanoseconds. */
function note() {
  const length = readSync(schedstat, bytes, 0, bytes.length, 0);
  used.push(parseInt(bytes.toString('latin1', 0, length)) / 1e6);
}

const server = createServer({ keepAliveTimeout: 600_000 }, (_, response) => {
  response.end(String(process.pid));
  note();
});
process.once('SIGTERM', () => server.close(() => process.exit()));
process.on('message', () => process.send({ answer: used }));
server.listen(Number(process.env.BENCH_PORT), '127.0.0.1', () => {
  note();
  console.log('listens');
});
