import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import dbus, { type Message, type MessageBus } from 'dbus-native';
import { FdStream } from 'fdpasser';
import { ended } from '../support/child.js';
import { anonymousFile, closeAll, identity } from '../support/descriptors.js';
import { withSessionBus } from '../support/session-bus.js';
import { test } from '../support/test.js';

const NAME = 'org.example.Test';
const PATH = '/org/example/Test';

async function connectTo(socket: string): Promise<MessageBus> {
  const bus = dbus.createClient({ stream: await FdStream.connect(socket, { fds: 'number' }) });
  await bus.listNames(); // until it has answered, the bus may still read the handshake, without room for descriptors
  assert.equal(bus.connection.canPassFds, true);
  assert.equal(bus.connection.unixFdsAgreed, true);
  return bus;
}

/** Calls the service; resolves with its reply, descriptors and all. */
function call(bus: MessageBus, member: string, fds: number[]): Promise<Message> {
  const message: Message = { destination: NAME, path: PATH, interface: NAME, member };
  if (fds.length > 0) Object.assign(message, { signature: 'h'.repeat(fds.length), body: [...fds.keys()], fds });
  return new Promise((resolve, reject) => {
    bus.invoke(message, function answered(this: { message: Message }, error) {
      if (error) reject(error);
      else resolve(this.message);
    });
  });
}

/** Answers `member` with the descriptors that `answer` returns. */
function serve(bus: MessageBus, member: string, answer: (fds: number[], indices: number[]) => number[]): void {
  const handler = (...args: unknown[]): Promise<never> => {
    const request = args.pop() as Message;
    const fds = answer(request.fds ?? [], args as number[]);
    const signature = 'h'.repeat(fds.length);
    bus.connection.message({
      type: dbus.messageType.methodReturn,
      serial: bus.serial++,
      replySerial: request.serial!,
      destination: request.sender!,
      ...(fds.length > 0 ? { signature, body: [...fds.keys()], fds } : {}),
    });
    return new Promise(() => {}); // it was answered: dbus-native could not add descriptors
  };
  bus.setMethodCallHandler(PATH, NAME, member, [handler, '']);
}

async function withService(body: (client: MessageBus, service: MessageBus) => Promise<void>): Promise<void> {
  await withSessionBus(async (socket) => {
    const [client, service] = await Promise.all([connectTo(socket), connectTo(socket)]);
    try {
      assert.equal(await service.requestName(NAME, 0), 1);
      await body(client, service);
    } finally {
      await Promise.all([client.close(), service.close()]);
    }
  });
}

function inOrder({ fds, body }: Message): number[] {
  return (body as number[]).map((index) => fds![index]!);
}

test('a D-Bus call carries a descriptor to a service', async () => {
  await withService(async (client, service) => {
    const seen: string[] = [];
    serve(service, 'Take', (fds, [index]) => {
      seen.push(identity(fds[index!]!));
      closeAll(fds);
      return [];
    });
    const file = anonymousFile();
    const id = identity(file);
    await call(client, 'Take', [file]);
    assert.deepEqual(seen, [id]);
  });
});

test('a D-Bus reply carries a descriptor back', async () => {
  await withService(async (client, service) => {
    const given: string[] = [];
    serve(service, 'Give', () => {
      const file = anonymousFile();
      given.push(identity(file));
      return [file];
    });
    const reply = await call(client, 'Give', []);
    assert.deepEqual(inOrder(reply).map(identity), given);
    closeAll(reply.fds!);
  });
});

test('a D-Bus message carries several descriptors in order, there and back', async () => {
  await withService(async (client, service) => {
    serve(service, 'Reverse', (fds, indices) => indices.map((index) => fds[index]!).toReversed());
    const files = Array.from({ length: 16 }, anonymousFile);
    const ids = files.map(identity);
    const reply = await call(client, 'Reverse', files);
    assert.deepEqual(inOrder(reply).map(identity), ids.toReversed());
    closeAll(reply.fds!);
  });
});

test('1,000 D-Bus calls at once each take a descriptor there and get it back', async () => {
  await withService(async (client, service) => {
    serve(service, 'Echo', (fds) => fds);
    await Promise.all(
      Array.from({ length: 1000 }, async () => {
        const file = anonymousFile();
        const id = identity(file);
        const { fds } = await call(client, 'Echo', [file]);
        assert.deepEqual(fds!.map(identity), [id]);
        closeAll(fds!);
      }),
    );
  });
});

test('the D-Bus example prints the license in capitals', async () => {
  await withSessionBus(async (socket) => {
    const example = fileURLToPath(new URL('../../../examples/dbus.js', import.meta.url));
    const child = spawn(process.execPath, [example], {
      env: { ...process.env, DBUS_SESSION_BUS_ADDRESS: `unix:path=${socket}` },
    });
    const { code, signal, stdout, stderr } = await ended(child);
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
    assert.equal(stdout, readFileSync(new URL('../../../LICENSE', import.meta.url), 'utf8').toUpperCase());
  });
});
