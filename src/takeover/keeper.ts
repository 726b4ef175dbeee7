import { FdChannel } from '../channel/channel.js';
import type { Message } from '../channel/message.js';
import { OwnedFd } from '../descriptor/owned-fd.js';
import type { Inherited, Listener } from './listeners/listener.js';

/** What a process asks its keeper, or tells it: `keep`, `drop` and those at the end have no reply. */
export type ToKeeper =
  /** The reply brings the listener of that name, or asks this process to bind it. Then `keep` or `drop` follows. */
  | { ask: 'listener'; name: string }
  /** With the listener, which this process has bound. */
  | { ask: 'keep'; name: string }
  /** This process does not use it any more. */
  | { ask: 'drop'; name: string }
  /** Whether it may serve. */
  | { ask: 'ready' }
  /** It serves. Whether it may do so for good. */
  | { ask: 'serving' }
  /** It asks its predecessor for that. */
  | { ask: 'confirming' }
  /** A successor has dialled it. */
  | { ask: 'reloading' }
  /** It serves for good, or again. */
  | { ask: 'up' };

export type FromKeeper = { refused?: string };

/** The keeper does not let this process serve. */
export class Refusal extends Error {}

/**
 * `fdpasser exec`, for a process that it has started. It keeps the listeners, so that several processes share them and
 * they outlive each. It decides when the processes of one version begin to serve, and whether they go on.
 */
export class Keeper {
  readonly #channel: FdChannel<ToKeeper, FromKeeper>;

  private constructor(channel: FdChannel<ToKeeper, FromKeeper>) {
    this.#channel = channel;
    channel.on('error', () => {}); // each request rejects
  }

  static async at(path: string): Promise<Keeper> {
    return new Keeper(await FdChannel.connect<ToKeeper, FromKeeper>(path));
  }

  /** Binds a listener, or shares it with who has. Without a keeper, it takes what it inherits. */
  async bind(listener: Listener, inherited: Inherited | undefined): Promise<void> {
    const { name } = listener;
    let kept: Message<FromKeeper>;
    try {
      kept = await this.#channel.request({ ask: 'listener', name });
    } catch {
      return listener.bind(inherited);
    }
    inherited?.socket.close();
    const [socket] = kept.fds;
    if (socket !== undefined) return listener.bind({ socket });
    try {
      await listener.bind(undefined);
    } catch (error) {
      this.drop(name);
      throw error;
    }
    const shared = listener.share();
    this.#channel.send({ ask: 'keep', name }, [shared]).catch(() => OwnedFd.closeAll([shared]));
  }

  /**
   * A successor that has failed may have removed the path of a listener, and bound it anew. Clients find only the
   * socket that is there now, so this process accepts from that one.
   */
  async renew(listener: Listener): Promise<void> {
    if (listener.path !== undefined) await this.bind(listener, { socket: listener.duplicate() });
  }

  /** This process does not use it any more. */
  drop(name: string): void {
    this.#tell({ ask: 'drop', name });
  }

  /** Resolves when this process may serve. */
  ready(): Promise<void> {
    return this.#ask({ ask: 'ready' });
  }

  /** Resolves when this process is to serve for good, and asks its predecessor for that next. */
  async serving(): Promise<void> {
    await this.#ask({ ask: 'serving' });
    this.#tell({ ask: 'confirming' });
  }

  /** For the service manager that the keeper is: this process may have given up the right to find its socket. */
  tellReady(): void {
    this.#tell({ ask: 'up' });
  }

  tellReloading(): void {
    this.#tell({ ask: 'reloading' });
  }

  /** This process takes no part any more, and waits for no reply. */
  leave(): void {
    this.#channel.destroy();
  }

  #tell(message: ToKeeper): void {
    this.#channel.send(message).catch(() => {}); // the keeper has gone
  }

  async #ask(question: ToKeeper): Promise<void> {
    const { value } = await this.#channel.request(question);
    if (value.refused !== undefined) throw new Refusal(value.refused);
  }
}
