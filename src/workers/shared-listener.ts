import { attempt } from '../common/attempt.js';
import { invalidValue } from '../common/arguments.js';
import { ownReceived, type OwnedFd } from '../descriptor/owned-fd.js';
import { TcpServer } from '../endpoint/tcp-server.js';
import { checked } from '../errors.js';
import { addon } from '../native/load.js';
import type { Inherited, Listener } from '../takeover/listeners/listener.js';
import { fileAt, fits, nameOf } from '../takeover/listeners/wanted.js';
import { Arrivals, type Arrival } from '../takeover/live/arrivals.js';
import type { Json } from '../takeover/live/carried.js';
import { KINDS, type Carried } from '../takeover/live/index.js';
import type { Endpoint } from '../takeover/messages.js';
import type { Bound, Place } from './bind.js';
import type { Intake } from './intake.js';
import type { Moved } from './messages.js';

/** A live connection of a worker, as it goes from supervisor to supervisor: of the listener that it is named with. */
const KIND = 'worker';

/** The workers of this process. */
export interface Heirs {
  /** Has the worker of that slot go on with a connection. */
  adopt(slot: number, moved: Moved): void;
  /** Ends them: those of the listeners that move are `offer`ed. Resolves when they have ended. */
  leave(): Promise<void>;
  cut(): void;
}

/** What a supervisor listens on, as takeover has it. */
export class SharedListener implements Listener {
  readonly name: string;
  /** Its workers go on with those of a server without workers. */
  readonly liveKinds: readonly string[] = [KIND, ...KINDS];
  readonly #place: Place;
  readonly #begin: (server: Bound) => Intake;
  readonly #heirs: Heirs;
  #bound: Promise<Intake> | undefined;
  #intake: Intake | undefined;
  /** On their way to a successor; undefined while nothing moves. */
  #leaving: Carried[] | undefined;
  #wake = (): void => {};
  #offered = 0;
  readonly #arrivals = new Arrivals((arrival, late) => this.#arrived(arrival, late));

  /** `otherwise` names what has no name. */
  constructor(place: Place, otherwise: string, begin: (server: Bound) => Intake, heirs: Heirs) {
    this.name = nameOf(place.wanted) ?? otherwise;
    this.#place = place;
    this.#begin = begin;
    this.#heirs = heirs;
  }

  /** Once it is bound. */
  get intake(): Intake {
    return this.#intake!;
  }

  get transferable(): boolean {
    return this.#place.wanted.kind !== 'nameless' && this.#intake?.accepts === true;
  }

  get endpoint(): Endpoint {
    const { server } = this.intake;
    if (server instanceof TcpServer) {
      const { address, port } = server.address();
      return { kind: 'tcp', address, port };
    }
    const { wanted } = this.#place;
    const path = wanted.kind === 'unix' ? wanted.path : server.path; // from the root on, for whoever compares it
    const file = fileAt(server.path);
    return { kind: 'unix', path, ...(file !== undefined && { file }) };
  }

  accepts(endpoint: Endpoint): boolean {
    return fits(endpoint, this.#place.wanted);
  }

  async bind(inherited: Inherited | undefined): Promise<void> {
    if (this.#bound !== undefined) inherited?.socket.close(); // it has one
    this.#bound ??= this.#bind(inherited);
    this.#intake = await this.#bound;
  }

  async #bind(inherited: Inherited | undefined): Promise<Intake> {
    if (inherited === undefined) return this.#begin(await this.#place.bind());
    const intake = this.#begin(this.#place.adopt(inherited.socket));
    intake.yield();
    return intake;
  }

  share(): OwnedFd {
    return this.duplicate();
  }

  async serve(): Promise<void> {
    attempt(() => this.intake.keepPath()); // the predecessor may have closed, and removed it
    this.intake.accept();
  }

  duplicate(): OwnedFd {
    return ownReceived(checked(addon.dup(this.intake.server.fd), 'fcntl'));
  }

  pause(): void {
    this.#intake?.yield();
  }

  resume(): void {
    attempt(() => this.#intake?.keepPath()); // workers of a successor that failed may have removed it
    this.#intake?.accept();
  }

  release(): void {
    this.#intake?.release();
  }

  adoptLive(key: number, kind: string, fd: OwnedFd, state: Json): void {
    this.#arrivals.add(key, { kind, fd, state });
  }

  ownLive(key: number, late: Buffer, more: boolean): void {
    this.#arrivals.release(key, late, more);
  }

  ownAllLive(): void {
    this.#arrivals.releaseAll();
  }

  #arrived({ kind, fd, state }: Arrival, late: Buffer): void {
    if (kind !== KIND) {
      // of a server without workers
      this.#heirs.adopt(0, { listener: this.intake.name, kind, state, fd, late });
      return;
    }
    const { slot, listener, kind: own, state: rest } = (state ?? {}) as Record<string, Json | undefined>;
    if (!Number.isSafeInteger(slot) || typeof own !== 'string' || rest === undefined)
      throw invalidValue('state', "that of a worker's connection", state);
    const name = typeof listener === 'string' ? listener : undefined;
    this.#heirs.adopt(Math.abs(slot as number), { listener: name, kind: own, state: rest, fd, late });
  }

  carry(): void {
    throw invalidValue('name', 'of a server with connections', this.name);
  }

  /** Whether live connections move to a successor. */
  get moves(): boolean {
    return this.#leaving !== undefined;
  }

  /** One that a worker does not have any more. */
  offer(slot: number, { listener, kind, state, fd, late }: Moved): void {
    const told = { slot, kind, state, ...(listener !== undefined && { listener }) };
    const taken = (): Buffer => late;
    this.#leaving!.push({ key: ++this.#offered, kind: KIND, state: told, fd, taken, kept: () => fd.close() });
    this.#wake();
  }

  async *leaveLive(signal: AbortSignal, alone: Promise<void>, kinds = this.liveKinds): AsyncGenerator<Carried, void> {
    if (!kinds.includes(KIND)) return; // a server without workers: connections end here
    this.#leaving = [];
    signal.addEventListener('abort', () => this.#wake());
    let isOver = false;
    const over = (): void => {
      isOver = true;
      this.#wake();
    };
    const left = Promise.resolve().then(() => this.#heirs.leave()); // when those of all listeners leave
    void Promise.all([left, alone]).then(over, over);
    while (!signal.aborted) {
      yield* this.#leaving.splice(0);
      if (isOver && this.#leaving.length === 0) break;
      if (this.#leaving.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    for (const { kept } of this.#leaving.splice(0)) kept();
    this.#leaving = undefined;
  }

  drain(): void {
    void this.#heirs.leave();
  }

  whenGone(): Promise<void> {
    return this.#heirs.leave();
  }

  cut(): void {
    this.#heirs.cut();
  }

  close(): void {
    this.#arrivals.close();
    this.#intake?.close();
  }
}
