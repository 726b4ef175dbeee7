/**
 * Descriptors over D-Bus, in both directions: a service gets a file and answers with another, which has the same text
 * in capitals.
 *
 * dbus-run-session node examples/dbus.js
 */
import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import dbus from 'dbus-native';
import { FdStream } from 'fdpasser';

const NAME = 'org.example.Capitals';
const PATH = '/org/example/Capitals';

/** A client of the session bus that can pass descriptors. dbus-native knows them as bare numbers. */
async function sessionBus() {
  const address = process.env.DBUS_SESSION_BUS_ADDRESS ?? '';
  const [, kind, value] = /unix:(path|abstract)=([^,;]*)/.exec(address) ?? [];
  if (value === undefined) throw new Error(`no session bus to connect to: DBUS_SESSION_BUS_ADDRESS is '${address}'`);
  const path = (kind === 'abstract' ? '\0' : '') + decodeURIComponent(value);
  const bus = dbus.createClient({ stream: await FdStream.connect(path, { fds: 'number' }) });
  // Until it has answered, the bus may still read the handshake, without room for descriptors.
  await bus.listNames();
  return bus;
}

/** A file without a name. */
function fileOf(text) {
  const folder = mkdtempSync(join(tmpdir(), 'capitals-'));
  const fd = openSync(join(folder, 'text'), 'w+');
  rmSync(folder, { recursive: true });
  writeSync(fd, text);
  return fd;
}

function textOf(fd) {
  const bytes = Buffer.alloc(fstatSync(fd).size);
  readSync(fd, bytes, 0, bytes.length, 0);
  return bytes.toString();
}

const service = await sessionBus();
service.setMethodCallHandler(PATH, NAME, 'Capitalize', [
  (index, call) => {
    const text = textOf(call.fds[index]); // an 'h' is an index into the message's descriptors
    call.fds.forEach(closeSync); // received descriptors are the receiver's to close
    service.connection.message({
      type: dbus.messageType.methodReturn,
      serial: service.nextSerial(),
      replySerial: call.serial,
      destination: call.sender,
      signature: 'h',
      body: [0],
      fds: [fileOf(text.toUpperCase())], // the stream takes sent descriptors over
    });
    // dbus-native would answer with the return value, but without descriptors.
    return new Promise(() => {});
  },
  'h',
]);
await service.requestName(NAME, 0);

const client = await sessionBus();
const reply = await new Promise((resolve, reject) => {
  client.invoke(
    {
      destination: NAME,
      path: PATH,
      interface: NAME,
      member: 'Capitalize',
      signature: 'h',
      body: [0],
      fds: [fileOf(readFileSync(new URL('../LICENSE', import.meta.url)))],
    },
    function answered(error) {
      if (error) reject(error);
      else resolve(this.message);
    },
  );
});
process.stdout.write(textOf(reply.fds[reply.body[0]]));
reply.fds.forEach(closeSync);

await client.close();
await service.close();
