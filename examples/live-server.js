/**
 * The server of live.js. A keep-alive connection and a WebSocket move to its successor by themselves. The event stream
 * is a protocol of this program's own to fdpasser: `carry` says what the successor must know of one.
 */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { takeover } from 'fdpasser/takeover';
import { WebSocketServer } from 'ws';

const [control, port, streamPort] = process.argv.slice(2);
const page = readFileSync(`${import.meta.dirname}/live.html`, 'utf8').replace('STREAM_PORT', streamPort);

/** The other end's port is the same as long as the connection is. */
const tell = (count, { remotePort }) => JSON.stringify({ count, pid: process.pid, port: remotePort });

const web = http.createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  if (pathname === '/') response.setHeader('Content-Type', 'text/html; charset=utf-8').end(page);
  else if (pathname === '/poll') response.end(tell(Number(searchParams.get('count')) + 1, request.socket));
  else response.writeHead(404).end();
});

new WebSocketServer({ server: web }).on('connection', (webSocket, { socket }) =>
  webSocket.on('message', (data) => {
    const { count, replace } = JSON.parse(data);
    if (replace) process.send?.('replace');
    else webSocket.send(tell(count + 1, socket));
  }),
);

const HEAD = `HTTP/1.1 200 OK
Content-Type: text/event-stream
Cache-Control: no-store
Access-Control-Allow-Origin: *
Connection: close

`.replaceAll('\n', '\r\n');

/** How far each event stream is. */
const streams = new Map();
const stream = net.createServer((socket) => {
  socket.on('error', () => {}); // it closes
  socket.once('data', () => {
    socket.write(HEAD);
    count(socket, 0);
  });
});

function count(socket, from) {
  streams.set(socket, from);
  const timer = setInterval(() => {
    streams.set(socket, streams.get(socket) + 1);
    socket.write(`data: ${tell(streams.get(socket), socket)}\n\n`);
  }, 100);
  socket.on('error', () => {}); // it closes
  socket.resume().on('end', () => socket.end());
  socket.on('close', () => {
    clearInterval(timer);
    streams.delete(socket);
  });
}

const serving = await takeover(control, { probation: 300 });
serving.listen('web', web, { port: Number(port), host: '127.0.0.1' });
serving.listen('stream', stream, { port: Number(streamPort), host: '127.0.0.1' });
serving.carry('stream', { save: (socket) => streams.get(socket), restore: (from, socket) => count(socket, from) });
serving.on('drained', () => process.disconnect?.());
await serving.ready();
console.log(`process ${process.pid} serves http://127.0.0.1:${port}/`);
