/**
 * Every public function with options refuses one of a wrong name. The declarations that the package ships list them.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { connect as connectTcp, createServer, type Server } from 'node:net';
import { fileURLToPath } from 'node:url';
import * as main from 'fdpasser';
import * as systemd from 'fdpasser/systemd';
import * as taking from 'fdpasser/takeover';
import * as workers from 'fdpasser/workers';
import { ended, message, startChild } from '../support/child.js';
import { anonymousFile, inFolder, leftOpen, openDescriptors } from '../support/descriptors.js';
import { test } from '../support/test.js';

const { FdChannel, FdPasser, FdServer, FdStream, OwnedFd, connect, listen, socketpair } = main;

const dist = fileURLToPath(new URL('../../../dist/', import.meta.url));
const child = fileURLToPath(new URL('../passer/children/echo.js', import.meta.url));

const worker = fileURLToPath(new URL('../workers/children/serve.js', import.meta.url));

/** Functions that pass their options on to Node, or to the language, unchanged. */
const PASSED_ON = ['Serving.listen', 'FdPasserError.constructor', 'TakeoverError.constructor'];

/** The name of each export of all entry points, and the declarations of its file. */
function* exported(): Generator<[name: string, declarations: string]> {
  for (const entry of ['', 'systemd/', 'takeover/', 'workers/'])
    for (const [, names, file] of read(`${entry}index.d.ts`).matchAll(
      /export (?:type )?\{([^}]*)\} from '(.*)\.js'/g,
    )) {
      const text = read(`${entry}${file}.d.ts`).replaceAll(/\/\*\*.*?\*\//gs, '');
      for (const name of names!.split(',').map((one) => one.replace('type ', '').trim()))
        if (name !== '') yield [name, text];
    }
}

function membersOf(kind: 'class' | 'interface', name: string, declarations: string): string[] {
  const body = new RegExp(`^export (?:declare )?${kind} ${name}\\b.*?\\{\\n(.*?)^\\}`, 'ms').exec(declarations)?.[1];
  return body?.split('\n') ?? [];
}

/** `Class.method`, or the name of a function, of all that is exported and takes options. */
function takeOptions(): string[] {
  const found = new Set<string>();
  for (const [name, text] of exported()) {
    if (new RegExp(`^export declare function ${name}\\b.*\\boptions\\??:`, 'm').test(text)) found.add(name);
    for (const line of membersOf('class', name, text)) {
      const member = /^ {4}(?:static )?(\w+)(?:<.*>)?\(.*\boptions\??:/.exec(line)?.[1];
      if (member !== undefined) found.add(`${name}.${member}`);
    }
  }
  return [...found].filter((name) => !PASSED_ON.includes(name)).toSorted();
}

function read(name: string): string {
  return readFileSync(`${dist}${name}`, 'utf8');
}

/** The objects on which the calls are made. */
interface Stage {
  folder: string;
  passer: main.FdPasser;
  channel: main.FdChannel;
  stream: main.FdStream;
  socket: main.OwnedFd;
  file: main.OwnedFd;
  unix: main.FdServer;
  tcp: main.TcpServer;
  connection: main.TcpConnection;
  node: Server;
  supervisor: workers.Supervisor;
  worker: workers.Worker;
}

/** Also an option of an option: several of one name are told apart by what follows a space. */
type Call = (stage: Stage, wrong: never) => unknown;

const CALLS: Record<string, Call> = {
  'FdPasser.constructor': ({ socket }, wrong) => new FdPasser(socket, wrong),
  'FdPasser.constructor with fh': ({ socket }, wrong: object) => new FdPasser({ fh: socket, ...wrong }),
  'FdPasser.connect': ({ unix }, wrong) => FdPasser.connect(unix.path, wrong),
  'FdPasser.spawn': (_, wrong) => FdPasser.spawn(process.execPath, [child], wrong),
  'FdPasser.spawn passer': (_, wrong) => FdPasser.spawn(process.execPath, [child], { passer: wrong }),
  'FdPasser.inherit': ({ socket }, wrong) => FdPasser.inherit(socket.fd, wrong),
  'FdPasser.pushSendFh': ({ passer, file }, wrong) => passer.pushSendFh(file, wrong),
  'FdPasser.send': ({ passer, file }, wrong) => passer.send(file, wrong),
  'FdPasser.receive': ({ passer }, wrong) => passer.receive(wrong),
  'FdPasser.receiveMany': ({ passer }, wrong) => passer.receiveMany(wrong),
  'FdChannel.constructor': ({ socket }, wrong) => new FdChannel(socket, wrong),
  'FdChannel.constructor with fh': ({ socket }, wrong: object) => new FdChannel({ fh: socket, ...wrong }),
  'FdChannel.connect': ({ unix }, wrong) => FdChannel.connect(unix.path, wrong),
  'FdChannel.spawn': (_, wrong) => FdChannel.spawn(process.execPath, [child], wrong),
  'FdChannel.spawn channel': (_, wrong) => FdChannel.spawn(process.execPath, [child], { channel: wrong }),
  'FdChannel.inherit': ({ socket }, wrong) => FdChannel.inherit(socket.fd, wrong),
  'FdChannel.send': ({ channel, file }, wrong) => channel.send(1, [file], wrong),
  'FdChannel.request': ({ channel, file }, wrong) => channel.request(1, [file], wrong),
  'FdChannel.receive': ({ channel }, wrong) => channel.receive(wrong),
  'Message.reply': async ({ file }, wrong) => {
    const [a, b] = socketpair();
    const [asker, asked] = [new FdChannel(a), new FdChannel(b)];
    const request = asker.request(1);
    try {
      await (await asked.receive()).reply(2, [file], wrong);
    } finally {
      asker.destroy();
      asked.destroy();
      await assert.rejects(request);
    }
  },
  'FdStream.constructor': ({ socket }, wrong) => new FdStream(socket, wrong),
  'FdStream.constructor with fh': ({ socket }, wrong: object) => new FdStream({ fh: socket, ...wrong }),
  'FdStream.connect': ({ unix }, wrong) => FdStream.connect(unix.path, wrong),
  'FdStream.spawn': (_, wrong) => FdStream.spawn(process.execPath, [child], wrong),
  'FdStream.spawn stream': (_, wrong) => FdStream.spawn(process.execPath, [child], { stream: wrong }),
  'FdStream.inherit': ({ socket }, wrong) => FdStream.inherit(socket.fd, wrong),
  'FdStream.writeWithFds': ({ stream, file }, wrong) => stream.writeWithFds(Buffer.of(1), [file], wrong),
  'OwnedFd.constructor': (_, wrong) => {
    const fd = openSync('/dev/null', 'r');
    try {
      return new OwnedFd(fd, wrong);
    } finally {
      closeSync(fd); // it is still ours
    }
  },
  'OwnedFd.toSocket': ({ socket }, wrong) => socket.toSocket(wrong),
  'OwnedFd.toConnection': ({ connection, node }, wrong) => connection.fd.toConnection(node, wrong),
  'OwnedFd.createReadStream': ({ file }, wrong) => file.createReadStream(wrong),
  'OwnedFd.createWriteStream': ({ file }, wrong) => file.createWriteStream(wrong),
  socketpair: (_, wrong) => socketpair(wrong),
  listen: ({ folder }, wrong) => listen(`${folder}/other`, wrong),
  'listen for TCP': (_, wrong: object) => listen({ port: 0, ...wrong }),
  connect: ({ unix }, wrong) => connect(unix.path, wrong),
  sendDatagram: ({ unix, file }, wrong) => main.sendDatagram(unix.path, Buffer.of(1), [file], wrong),
  receiveDatagram: ({ socket }, wrong) => main.receiveDatagram(socket, wrong),
  'FdServer.from': ({ unix }, wrong) => FdServer.from(unix.fd, wrong),
  'FdServer.accept': ({ unix }, wrong) => unix.accept(wrong),
  'TcpServer.accept': ({ tcp }, wrong) => tcp.accept(wrong),
  'TcpServer.acceptMany': ({ tcp }, wrong) => tcp.acceptMany(1, wrong),
  'TcpConnection.peek': ({ connection }, wrong) => connection.peek(1, wrong),
  barrier: (_, wrong) => systemd.barrier(wrong),
  takeover: ({ folder }, wrong) => taking.takeover(`${folder}/control`, wrong),
  'takeover live': ({ folder }, wrong) => taking.takeover(`${folder}/control`, { live: wrong }),
  'Serving.upgrade': async ({ folder }) => {
    const started = startChild('project/misspelled-upgrade', { args: [`${folder}/serving`] });
    const ending = ended(started);
    const error = await message<{ message: string; code: string }>(started);
    await ending;
    throw Object.assign(new Error(error.message), error);
  },
  supervise: (_, wrong) => workers.supervise(child, wrong),
  'supervise peek': (_, wrong) => workers.supervise(child, { peek: wrong }),
  'Supervisor.listen': ({ supervisor, folder }, wrong) => supervisor.listen(`${folder}/other`, wrong),
  'Supervisor.listen for TCP': ({ supervisor }, wrong: object) => supervisor.listen({ port: 0, ...wrong }),
  'Worker.serve': ({ worker, node }, wrong) => worker.serve(node, wrong),
};

test('an option of the wrong name is refused by each public function that takes options', async () => {
  const names = new Set(Object.keys(CALLS).map((name) => name.split(' ')[0]!));
  assert.deepEqual([...names].toSorted(), takeOptions());
  assert.ok(names.size > 35);
});

test('a call with an option of the wrong name does nothing, and names the valid options', async () => {
  await inFolder(async (folder) => {
    const stage = await begin(folder);
    const before = openDescriptors();
    for (const [name, call] of Object.entries(CALLS)) {
      const made: unknown = await (async () => call(stage, { misspelled: undefined } as never))().catch(
        (error: unknown) => error,
      );
      assert.ok(made instanceof Error, `${name} returned`);
      assert.match(made.message, /^There is no option "misspelled" here\. There are: \w+/, name);
      assert.equal((made as NodeJS.ErrnoException).code, 'ERR_INVALID_ARG_VALUE', name);
    }
    assert.deepEqual(leftOpen(before), []);
    assert.deepEqual([stage.file.closed, stage.socket.closed, stage.connection.fd.closed], [false, false, false]);
    assert.equal(existsSync(`${folder}/other`), false);
    await end(stage);
  });
});

test('the type of every option lets it be undefined, which exactOptionalPropertyTypes asks for', () => {
  const lines = [...exported()].flatMap(([name, text]) =>
    name.endsWith('Options') ? membersOf('interface', name, text).map((line) => `${name}: ${line.trim()}`) : [],
  );
  const optional = lines.filter((line) => /^\w+: \w+\?:/.test(line));
  assert.ok(optional.length > 50);
  assert.deepEqual(
    optional.filter((line) => !/(?:\| undefined;|\{)$/.test(line)),
    [],
  );
});

async function begin(folder: string): Promise<Stage> {
  const [a, b] = socketpair();
  const [c, d] = socketpair();
  const [e, socket] = socketpair();
  e.close();
  const tcp = listen({ port: 0, host: '127.0.0.1' });
  const client = connectTcp(tcp.address().port, '127.0.0.1').on('error', () => {});
  const connection = await tcp.accept();
  client.destroy();
  await once(client, 'close');
  const channel = new FdChannel(b);
  const Worker = workers.Worker as unknown as new (
    slot: number,
    channel: main.FdChannel,
    retireTime: number,
  ) => workers.Worker;
  return {
    folder,
    passer: new FdPasser(a),
    channel,
    stream: new FdStream(c),
    socket,
    file: new OwnedFd(anonymousFile()),
    unix: listen(`${folder}/socket`),
    tcp,
    connection,
    node: createServer(),
    supervisor: workers.supervise(worker, { count: 1 }),
    worker: new Worker(0, new FdChannel(d), 0x7fff_ffff),
  };
}

async function end(stage: Stage): Promise<void> {
  stage.passer.destroy();
  stage.channel.destroy();
  stage.stream.destroy();
  for (const closable of [stage.socket, stage.file, stage.unix, stage.tcp, stage.connection]) closable.close();
  await stage.supervisor.close();
}
