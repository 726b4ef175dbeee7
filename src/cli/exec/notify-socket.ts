import { readSync } from 'node:fs';
import { listen, type FdServer, type OwnedFd } from '../../index.js';
import { ownMade } from '../../descriptor/owned-fd.js';
import { checked, systemError } from '../../errors.js';
import { READABLE, type Watch } from '../../native/addon.js';
import { addon } from '../../native/load.js';

/** The longest message that is read; systemd reads no more. */
const LONGEST = 4096;

/** The socket to which one program sends READY=1, as in sd_notify(3). */
export class NotifySocket {
  readonly #server: FdServer;
  readonly #socket: OwnedFd;
  readonly #watch: Watch;
  readonly #room = Buffer.alloc(LONGEST);
  readonly #heard: (assignments: string[]) => void;

  constructor(path: string, heard: (assignments: string[]) => void) {
    this.#heard = heard;
    this.#server = listen(path, { type: 'dgram' });
    this.#socket = ownMade(checked(addon.dup(this.#server.fd), 'fcntl')); // the server watches its own number
    const watch = addon.watch(this.#socket.fd, this);
    if (typeof watch === 'number') throw systemError(watch, 'epoll_ctl');
    this.#watch = watch;
    checked(addon.watchFor(watch, READABLE), 'epoll_ctl');
  }

  /** Called by the core when there are messages. The kernel drops descriptors that come with them. */
  ready(): void {
    try {
      for (;;) this.#heard(this.#room.toString('utf8', 0, readSync(this.#socket.fd, this.#room)).split('\n'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }

  /** Messages that were sent before are still read. */
  close(): void {
    this.ready();
    addon.unwatch(this.#watch);
    this.#socket.close();
    this.#server.close();
  }
}
