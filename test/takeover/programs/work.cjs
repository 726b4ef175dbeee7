/** What these programs do beside answering with their pid. None of them knows of takeover. */
const { createHash } = require('node:crypto');
const { Readable } = require('node:stream');
const { setTimeout: sleep } = require('node:timers/promises');

/** What `listen()` of a server is given. */
exports.where = JSON.parse(process.argv[2]);

exports.listens = () => console.log('listens');

/** A body that takes about a second: it is half done whenever the program is replaced. */
exports.slowBody = () =>
  Readable.from(
    (async function* () {
      for (let part = 0; part < 60; part++) {
        yield Buffer.alloc(10_000, part);
        await sleep(20);
      }
    })(),
  );

exports.digest = async (body) => {
  const hash = createHash('sha256');
  for await (const chunk of body) hash.update(chunk);
  return hash.digest('hex');
};

/** A WebSocket echoes, and counts by itself: it prints how far it came when it ends. */
exports.count = (webSocket, request) => {
  let sent = 0;
  const counting = setInterval(() => {
    if (webSocket.readyState === 1) webSocket.send(`${process.pid} counts ${sent++}`);
  }, 20);
  webSocket.on('message', (data) => webSocket.send(`echo ${data}`));
  webSocket.on('close', (code) => {
    clearInterval(counting);
    console.log(JSON.stringify({ client: request.url, code, pid: process.pid, sent }));
  });
};

/** Bytes that are used, once garbage is collected. */
function heap() {
  globalThis.gc();
  return String(process.memoryUsage().heapUsed);
}

/** By the paths that the clients ask for; for programs of Node's own servers. */
exports.answer = (request, response) => {
  if (request.url === '/download') exports.slowBody().pipe(response);
  else if (request.url === '/heap') response.end(heap());
  else if (request.url === '/upload') void exports.digest(request).then((digest) => response.end(digest));
  else response.end(String(process.pid));
};
