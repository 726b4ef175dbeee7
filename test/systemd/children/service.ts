/** A service of `test/python/manager.py`: it does what its argument says. */
import { existsSync, fstatSync, readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { OwnedFd } from 'fdpasser';
import { barrier, listenFds, notify, store, unstore, watchdog } from 'fdpasser/systemd';
import { anonymousFile, flagsOf, identity, O_CLOEXEC } from '../../support/descriptors.js';

const tell = (what: unknown): Promise<boolean> => notify({ X_REPORT: JSON.stringify(what) });

const answer = (socket: Socket): void => void socket.end(`${process.pid}`);

/** Sends the manager as many messages as its queue takes, which is one more than the system's limit. */
async function fillQueue(): Promise<void> {
  const most = Number(readFileSync('/proc/sys/net/unix/max_dgram_qlen', 'utf8'));
  for (let i = 0; i <= most; i++) await notify({ STATUS: `${i}` });
}

const tasks: Record<string, () => Promise<unknown>> = {
  /** Reports what was passed, and what is left of the variables. */
  async passed() {
    const passed = [...listenFds()].map(([name, fds]) => ({
      name,
      files: fds.map(({ fd }) => identity(fd)),
      closeOnExec: fds.every(({ fd }) => (flagsOf(fd) & O_CLOEXEC) !== 0),
    }));
    const variables = Object.keys(process.env).filter((name) => name.startsWith('LISTEN_'));
    await tell({ passed, variables, again: listenFds().size });
  },

  /** Answers the first client with the socket's name and this process's pid. */
  async answers() {
    const [[name, [listener]]] = [...listenFds()] as [[string, OwnedFd[]]];
    const server = listener!.toServer((socket) => {
      socket.end(`${name} ${process.pid}`);
      server.close();
    });
  },

  /** Reports how listenFds fails, and whether the descriptors are as they were. */
  async refused() {
    let code: unknown;
    try {
      listenFds();
    } catch (error) {
      ({ code } = error as { code: unknown });
    }
    fstatSync(3);
    new OwnedFd(3).close(); // nobody has it
    await tell({
      code,
      variables: Object.keys(process.env)
        .filter((name) => name.startsWith('LISTEN_'))
        .toSorted(),
    });
  },

  async words() {
    const first = [notify({ READY: 1, STATUS: 'all is well' }), notify({ RELOADING: 1 }), notify({ STOPPING: 1 })];
    await Promise.all(first);
    await tell({ now: String(process.hrtime.bigint() / 1000n) });
  },

  /** Stores a socket, and removes it again. */
  async stores() {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, resolve));
    await store('web', server);
    await tell({ listening: server.listening });
    await unstore('web');
    server.close();
  },

  async barrier() {
    await notify({ STATUS: 'first' });
    await tell({ barrier: await barrier() });
  },

  /** Its event loop is busy until the manager has answered, and until the timeout is over. */
  async barrierWhileBusy() {
    const timeout = 20;
    const passed = barrier({ timeout }).catch((error: { code: unknown }) => error.code);
    await new Promise((resolve) => setImmediate(resolve));
    while (!existsSync(process.argv[3]!));
    for (const end = Date.now() + 2 * timeout; Date.now() < end;);
    await tell({ barrier: await passed });
  },

  async late() {
    const code = await barrier({ timeout: 50 }).catch((error: { code: unknown }) => error.code);
    process.stdout.write(`${JSON.stringify({ code })}\n`);
  },

  /** The same when the manager's queue is full. */
  async lateToTell() {
    await fillQueue();
    await tasks['late']!();
  },

  /** Lets the process end though the manager's queue is full, and each turn of the event loop takes long. */
  async watchedAndFull() {
    await fillQueue();
    watchdog();
    const works = (): void => {
      for (const end = Date.now() + 3; Date.now() < end;);
      setImmediate(works).unref();
    };
    works();
  },

  /** Stores its own descriptor, closes it before the store is done, and opens another file with its number. */
  async storesAndCloses() {
    const owned = new OwnedFd(anonymousFile());
    const number = anonymousFile();
    const files = [owned.fd, number].map(identity);
    const stored = [store('owned', owned), store('number', number)];
    owned.close();
    new OwnedFd(number).close();
    const others = [anonymousFile(), anonymousFile()];
    await Promise.all(stored);
    for (const fd of others) new OwnedFd(fd).close();
    await tell({ files });
  },

  async watched() {
    const watching = watchdog();
    const waiting = setInterval(() => {}, 1000); // the watchdog lets the process end
    await new Promise((resolve) => process.once('SIGUSR1', resolve));
    clearInterval(waiting);
    watching[Symbol.dispose]();
    await tell('disposed');
    await new Promise((resolve) => setTimeout(resolve, 100));
    await tell('over');
  },

  /** Serves at the socket that was passed, and is well until it is asked to hang. */
  async hangs() {
    const [listener] = listenFds().get('web')!;
    watchdog();
    listener!.toServer((socket) => {
      answer(socket);
      socket.once('data', () => {
        for (;;);
      });
    });
    await notify({ READY: 1 });
  },

  /** Serves at the stored socket, or at a new one, which it stores if told to: at a port, or a path. */
  async serves() {
    const [where, keep] = process.argv.slice(3) as [string, string];
    const [stored] = listenFds().get('web') ?? [];
    const server = stored?.toServer(answer) ?? createServer(answer);
    if (stored === undefined) {
      const address = where.startsWith('/') ? { path: where } : { port: Number(where), host: '127.0.0.1' };
      await new Promise<void>((resolve) => server.listen(address, resolve));
      if (keep === 'keep') await store('web', server);
    }
    await notify({ READY: 1 });
  },
};

await tasks[process.argv[2]!]!();
