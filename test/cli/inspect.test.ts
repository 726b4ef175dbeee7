import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Folder, command } from '../support/command.js';
import { leaveOut, needs } from '../support/needs.js';
import { test, testInFull } from '../support/test.js';

const SERVER = fileURLToPath(new URL('../../../test/python/hanging-fs.py', import.meta.url));

/** Opens one descriptor of each kind, and prints their numbers. It ends when its input ends. */
const PROGRAM = `
import json, os, socket, sys
UNIX = socket.AF_UNIX
kept = {}
def keep(name, what):
    kept[name] = what
    return what
near, far = socket.socketpair()
keep("near", near); keep("far", far)
far.send(b"hello"); socket.send_fds(far, [b"!"], [0, 1])
listener = keep("listener", socket.socket(UNIX)); listener.bind("listener"); listener.listen()
for _ in range(2):
    client = socket.socket(UNIX); client.connect("listener"); keep(f"client {_}", client)
packets = keep("packets", socket.socket(UNIX, socket.SOCK_SEQPACKET)); packets.bind("./packets"); packets.listen()
abstract = keep("abstract", socket.socket(UNIX, socket.SOCK_DGRAM)); abstract.bind("\\0fdpasser \\x1b%d" % os.getpid())
tcp = keep("tcp", socket.socket()); tcp.bind(("127.0.0.1", 0)); tcp.listen()
out = keep("out", socket.create_connection(tcp.getsockname())); accepted = keep("in", tcp.accept()[0]); out.send(b"abc")
six = keep("six", socket.socket(socket.AF_INET6)); six.bind(("::1", 0)); six.listen()
udp = keep("udp", socket.socket(socket.AF_INET, socket.SOCK_DGRAM)); udp.bind(("127.0.0.1", 0))
numbers = {name: what.fileno() for name, what in kept.items()}
numbers["pipe"], _ = os.pipe()
numbers["folder"] = os.open("/", os.O_RDONLY)
numbers["file"] = os.open("/etc/passwd", os.O_RDONLY)
numbers["memory"] = os.memfd_create("some memory")
numbers["null"] = os.open("/dev/null", os.O_RDONLY)
numbers["terminal"], _ = os.openpty()
numbers["event"] = os.eventfd(0)
ports = {name: kept[name].getsockname()[1] for name in ("tcp", "out", "six", "udp")}
while accepted.recv(3, socket.MSG_PEEK | socket.MSG_WAITALL) != b"abc": pass
print(json.dumps({"numbers": numbers, "ports": ports}), flush=True)
sys.stdin.read()
`;

interface Open {
  fd: number;
  kind: string;
  name: string;
  socket?: { listens: boolean; remote?: string; state?: string; unread?: number; waiting?: number };
  peers?: number[];
  descriptors?: number;
}

interface Told {
  numbers: Record<string, number>;
  ports: Record<string, number>;
}

/** A process with many open descriptors, in a folder of its own. Disposing of this ends it. */
class Opener {
  readonly folder = new Folder();
  readonly child: ChildProcess = spawn('python3', ['-c', PROGRAM], {
    cwd: this.folder.path,
    stdio: ['pipe', 'pipe', 'inherit'],
  });

  async told(): Promise<Told> {
    const [line] = (await once(this.child.stdout!, 'data')) as [Buffer];
    return JSON.parse(line.toString()) as Told;
  }

  /** The output of `inspect --json`. */
  async inspect<T>(target: string): Promise<T> {
    const { code, stdout, stderr } = await command(['inspect', '--json', target], { cwd: this.folder.path });
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    return JSON.parse(stdout) as T;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const end = once(this.child, 'close');
    this.child.stdin!.end();
    this.child.stdout!.resume();
    await end;
    this.folder[Symbol.dispose]();
  }
}

test('inspect shows the kind of each descriptor of a process, the addresses of sockets, and what lies in them', async () => {
  needs('python3', 'setpriv');
  await using opener = new Opener();
  const { numbers, ports } = await opener.told();
  const { pid } = opener.child;
  const { open, ...process } = await opener.inspect<{ pid: number; command: string; open: Open[] }>(`${pid}`);
  assert.equal(process.pid, pid);
  assert.match(process.command, /^\S*python3 -c /);
  const of = (name: string): Omit<Open, 'fd'> => {
    const { fd: _, ...found } = open.find(({ fd }) => fd === numbers[name])!;
    return found;
  };
  const kinds = Object.keys(numbers).map((name) => [name, of(name).kind]);
  const wanted = {
    'unix-stream': ['near', 'far', 'listener', 'client 0', 'client 1'],
    'unix-seqpacket': ['packets'],
    'unix-dgram': ['abstract'],
    tcp: ['tcp', 'out', 'in', 'six'],
    udp: ['udp'],
    fifo: ['pipe'],
    directory: ['folder'],
    file: ['file', 'memory'],
    'character-device': ['null'],
    tty: ['terminal'],
    anonymous: ['event'],
  };
  assert.deepEqual(
    Object.fromEntries(kinds),
    Object.fromEntries(Object.entries(wanted).flatMap(([kind, names]) => names.map((name) => [name, kind]))),
  );
  assert.deepEqual([of('near').peers, of('near').socket!.unread, of('near').descriptors], [[pid], 6, 2]);
  assert.deepEqual([of('listener').name, of('listener').socket!.waiting], ['listener', 2]);
  assert.equal(of('abstract').name, `@fdpasser \x1b${pid}`);
  assert.deepEqual([of('tcp').name, of('tcp').socket!.listens], [`127.0.0.1:${ports['tcp']}`, true]);
  assert.equal(of('six').name, `[::1]:${ports['six']}`);
  assert.equal(of('udp').name, `127.0.0.1:${ports['udp']}`);
  const { remote, state, unread } = of('in').socket!;
  assert.deepEqual([remote, state, unread], [`127.0.0.1:${ports['out']}`, 'established', 3]);
});

testInFull('inspect without --json writes no control character that another user has put into a name', async () => {
  needs('python3', 'setpriv');
  await using opener = new Opener();
  await opener.told();
  const { code, stdout } = await command(['inspect', `${opener.child.pid}`]);
  assert.equal(code, 0);
  assert.match(stdout, /@fdpasser \\x1b\d+/);
  assert.doesNotMatch(stdout, /[^\P{Cc}\n]/u);
});

test('inspect shows which process listens at a path, under any name of it, or at an abstract name', async () => {
  needs('python3', 'setpriv');
  await using opener = new Opener();
  await opener.told();
  const { pid } = opener.child;
  for (const [path, kind, listens, waiting] of [
    ['listener', 'unix-stream', true, 2],
    [opener.folder.at('listener'), 'unix-stream', true, 2],
    ['packets', 'unix-seqpacket', true, 0],
    [`@fdpasser \x1b${pid}`, 'unix-dgram', false, undefined],
  ] as const) {
    const { sockets } = await opener.inspect<{ sockets: Record<string, unknown>[] }>(path);
    assert.equal(sockets.length, 1);
    const [socket] = sockets as [Record<string, unknown>];
    assert.deepEqual([socket['kind'], socket['listens'], socket['waiting']], [kind, listens, waiting]);
    assert.equal((socket['user'] as { uid: number }).uid, process.getuid!());
    assert.deepEqual(
      (socket['processes'] as { pid: number }[]).map((one) => one.pid),
      [pid],
    );
  }
});

testInFull('inspect tells a socket from one that another process bound under the same relative name', async () => {
  needs('python3');
  await using opener = new Opener();
  await using other = new Opener();
  await Promise.all([opener.told(), other.told()]);
  for (const one of [opener, other]) {
    const { sockets } = await one.inspect<{ sockets: { processes: { pid: number }[] }[] }>('listener');
    assert.deepEqual(
      sockets.map(({ processes }) => processes.map(({ pid }) => pid)),
      [[one.child.pid]],
    );
  }
});

testInFull('inspect reports what does not exist, and what it may not access', async () => {
  needs('python3', 'setpriv');
  await using opener = new Opener();
  await opener.told();
  for (const [target, says] of [
    ['999999999', /^fdpasser: There is no process 999999999\.\n$/],
    ['nowhere', /^fdpasser: ENOENT: .*nowhere'\.\n$/],
    ['/etc/passwd', /^fdpasser: "\/etc\/passwd" is not a socket\.\n$/],
    ['@fdpasser nobody', /^fdpasser: Nobody listens at "@fdpasser nobody"\.\n$/],
  ] as const) {
    const { code, stdout, stderr } = await command(['inspect', target]);
    assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
    assert.match(stderr, says);
  }
  if (process.getuid!() !== 0) return;
  const { stdout } = await opener.folder.shell(`
    chmod 755 .; stranger() { setpriv --reuid 65534 --clear-groups fdpasser inspect "$@"; echo $?; }
    stranger ${opener.child.pid}; stranger listener`);
  assert.match(
    stdout,
    /^fdpasser: Only its own user and root may see what process \d+ has open\.\n1\nunix-stream, listens, made by root \(0\).*\n {2}a process that may not .*\n0\n$/,
  );
});

test('of a process that has ended and that nobody has waited for it is told that nothing is open', async () => {
  using folder = new Folder();
  const { stdout } = await folder.shell(`python3 -c '
import os, subprocess
pid = os.fork() or os._exit(0)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
subprocess.run(["fdpasser", "inspect", str(pid)])'; echo "ended with $?"`);
  assert.match(stdout, /^process \d+ of .*: \[python3\]\nended with 0\n$/);
});

test('inspect gives up when a file system does not answer, which lstat waits for without end', async () => {
  needs('python3');
  if (process.getuid?.() !== 0 || !existsSync('/dev/fuse'))
    leaveOut('root and /dev/fuse, for a file system that hangs');
  using folder = new Folder();
  mkdirSync(folder.at('hangs'));
  const { LD_PRELOAD: _, ...env } = process.env;
  const server = spawn('python3', [SERVER, folder.at('hangs')], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const gone = once(server, 'exit');
  try {
    assert.match(`${(await once(server.stdout, 'data'))[0]}`, /^mounted/);
    const naive = spawn(process.execPath, ['-e', `fs.lstatSync('${folder.at('hangs/a')}')`], { stdio: 'ignore' });
    const naiveEnds = once(naive, 'exit');
    const { code, stdout, stderr } = await command(['inspect', '--timeout', '1', folder.at('hangs/socket')]);
    assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
    assert.equal(stderr, 'fdpasser: There was no answer within 1 s. Perhaps a file system hangs.\n');
    assert.equal(naive.exitCode, null);
    server.kill('SIGINT'); // which ends all waiting
    await naiveEnds;
  } finally {
    server.kill('SIGINT');
    await gone;
  }
});
