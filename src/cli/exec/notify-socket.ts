import { readSync } from 'node:fs';
import { listen, type FdServer, type OwnedFd } from '../../index.js';
import { ownMade } from '../../descriptor/owned-fd.js';
import { checked, systemError } from '../../errors.js';
import { READABLE, type Watch } from '../../native/addon.js';
import { addon } from '../../native/load.js';

/** The longest word that is read; systemd reads no more. */
const LONGEST = 4096;

/** Where one program says READY=1, as sd_notify(3) has it. */
export class NotifySocket {
  readonly #server: FdServer;
  readonly #socket: OwnedFd;
  readonly #watch: Watch;
  readonly #room = Buffer.alloc(LONGEST);
  readonly #heard: (assignments: string[]) => void;

  constructor(path: string, heard: (assignments: string[]) => void) {
    this.#heard = heard;
    this.#server = listen(path, { type: 'dgram' });
    this.#socket = ownMade(checked(addon.dup(this.#server.fd), 'fcntl')); // the server watches its own
    const watch = addon.watch(this.#socket.fd, () => this.#read());
    if (typeof watch === 'number') throw systemError(watch, 'epoll_ctl');
    this.#watch = watch;
    checked(addon.watchFor(watch, READABLE), 'epoll_ctl');
  }

  /** Descriptors that come beside the words are dropped by the kernel. */
  #read(): void {
    try {
      for (;;) this.#heard(this.#room.toString('utf8', 0, readSync(this.#socket.fd, this.#room)).split('\n'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }

  /** What was said before is still heard. */
  close(): void {
    this.#read();
    addon.unwatch(this.#watch);
    this.#socket.close();
    this.#server.close();
  }
}
