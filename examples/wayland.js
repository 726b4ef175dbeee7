/**
 * A window on Wayland: its pixels are in a file whose descriptor is passed to the compositor. Waits until the
 * compositor has shown it once.
 *
 *   node examples/wayland.js
 */
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { FdStream } from 'fdpasser';

const DISPLAY = 1; // the object that every connection begins with

/** The wire: a message has an object id, its size and opcode, and arguments, which are 32 bits each or strings. */
class Connection extends EventEmitter {
  #stream;
  #lastId = DISPLAY;
  #header = null;

  constructor(stream) {
    super();
    this.#stream = stream;
    stream.on('readable', () => this.#read());
    stream.on('error', (error) => this.emit('error', error));
    stream.on('end', () => {
      if (!stream.writableEnded) this.emit('error', new Error('the compositor has closed the connection'));
    });
    this.on(`${DISPLAY}.0`, (body) => {
      const text = stringAt(body, 8);
      stream.destroy(new Error(`the compositor says: ${text} (object ${body.readUInt32LE(0)})`));
    });
  }

  newId() {
    return ++this.#lastId;
  }

  request(object, opcode, args = [], fds = []) {
    const body = Buffer.concat(args.map(encode));
    const header = Buffer.alloc(8);
    header.writeUInt32LE(object, 0);
    header.writeUInt32LE((8 + body.length) * 0x10000 + opcode, 4);
    this.#stream.writeWithFds(Buffer.concat([header, body]), fds);
  }

  /** Resolves with the next event of this opcode from an object. */
  async event(object, opcode) {
    const [body] = await once(this, `${object}.${opcode}`);
    return body;
  }

  /** Waits until the compositor has answered all requests so far. */
  async settled() {
    const callback = this.newId();
    this.request(DISPLAY, 0, [callback]); // wl_display.sync
    await this.event(callback, 0);
  }

  async close() {
    this.#stream.end();
    await once(this.#stream, 'close');
  }

  #read() {
    for (;;) {
      this.#header ??= this.#stream.read(8);
      if (this.#header === null) return;
      const size = this.#header.readUInt16LE(6) - 8;
      const body = size === 0 ? Buffer.alloc(0) : this.#stream.read(size);
      if (body === null) return;
      const event = `${this.#header.readUInt32LE(0)}.${this.#header.readUInt16LE(4)}`;
      this.#header = null;
      this.emit(event, body);
    }
  }
}

function encode(argument) {
  if (typeof argument === 'number') {
    const word = Buffer.alloc(4);
    word.writeInt32LE(argument | 0);
    return word;
  }
  const text = Buffer.from(`${argument}\0`);
  return Buffer.concat([encode(text.length), text, Buffer.alloc((4 - (text.length % 4)) % 4)]);
}

function stringAt(body, offset) {
  return body.toString('utf8', offset + 4, offset + 4 + body.readUInt32LE(offset) - 1);
}

/** A file without a name, full of one colour. */
function pixels(count, colour) {
  const folder = mkdtempSync(join(tmpdir(), 'wayland-'));
  const fd = openSync(join(folder, 'pixels'), 'w+');
  rmSync(folder, { recursive: true });
  writeSync(fd, Buffer.alloc(count * 4, colour));
  return fd;
}

const path = resolve(process.env.XDG_RUNTIME_DIR ?? '/', process.env.WAYLAND_DISPLAY ?? 'wayland-0');
const wayland = new Connection(await FdStream.connect(path));

const registry = wayland.newId();
const globals = new Map();
wayland.on(`${registry}.0`, (body) => globals.set(stringAt(body, 4), body.readUInt32LE(0)));
wayland.request(DISPLAY, 1, [registry]); // wl_display.get_registry
await wayland.settled();

function bind(name) {
  const id = wayland.newId();
  if (!globals.has(name)) throw new Error(`the compositor has no ${name}`);
  wayland.request(registry, 0, [globals.get(name), name, 1, id]); // wl_registry.bind, version 1
  return id;
}
const compositor = bind('wl_compositor');
const shm = bind('wl_shm');
const shell = bind('xdg_wm_base');
wayland.on(`${shell}.0`, (serial) => wayland.request(shell, 3, [serial.readUInt32LE(0)])); // ping: pong

const [surface, shellSurface, window] = [wayland.newId(), wayland.newId(), wayland.newId()];
wayland.request(compositor, 0, [surface]); // wl_compositor.create_surface
wayland.request(shell, 2, [shellSurface, surface]); // xdg_wm_base.get_xdg_surface
wayland.request(shellSurface, 1, [window]); // xdg_surface.get_toplevel
wayland.request(window, 2, ['fdpasser']); // xdg_toplevel.set_title
wayland.request(surface, 6); // wl_surface.commit
const [size, serial] = await Promise.all([wayland.event(window, 0), wayland.event(shellSurface, 0)]);
wayland.request(shellSurface, 4, [serial.readUInt32LE(0)]); // xdg_surface.ack_configure

const width = size.readInt32LE(0) || 320;
const height = size.readInt32LE(4) || 200;
const [pool, buffer, frame] = [wayland.newId(), wayland.newId(), wayland.newId()];
const bytes = width * height * 4;
wayland.request(shm, 0, [pool, bytes], [pixels(width * height, 0x80)]); // wl_shm.create_pool, with the descriptor
wayland.request(pool, 0, [buffer, 0, width, height, width * 4, 1]); // wl_shm_pool.create_buffer, XRGB8888
wayland.request(surface, 1, [buffer, 0, 0]); // wl_surface.attach
wayland.request(surface, 2, [0, 0, width, height]); // wl_surface.damage
wayland.request(surface, 3, [frame]); // wl_surface.frame
wayland.request(surface, 6); // wl_surface.commit
await wayland.event(frame, 0);
await wayland.settled();
console.log(`shown: a window of ${width} x ${height}`);
await wayland.close();
