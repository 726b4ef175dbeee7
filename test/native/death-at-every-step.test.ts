import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { socketpair } from 'fdpasser';
import { PEER_GONE } from '#dist/wire/link-error.js';
import { ended, startChild } from '../support/child.js';
import { anonymousFile, identity, inFolder, leftOpen, openDescriptors, until } from '../support/descriptors.js';
import { withFaults, type Action, type Faults } from '../support/faults.js';
import { idle } from '../support/idle.js';
import { amount } from '../support/amount.js';
import { partly } from '../support/test.js';
import { WIRES, type Wire, type WireKind } from '../support/wires.js';

const FILES = 3;
/** `npm run test:faults` tries every system call; otherwise one in this many is tried. */
const ALL = process.env.FAULTS_ALL !== undefined;
const STRIDE = ALL ? 1 : amount(11, 71);

interface Role {
  name: string;
  /** How many files the victim sends, and how many it gets. */
  sends: number;
  receives: number;
}

const BOTH = { name: 'sends and receives', sends: FILES, receives: FILES };
const ROLES: readonly Role[] = ALL
  ? [{ name: 'sends', sends: FILES, receives: 0 }, { name: 'receives', sends: 0, receives: FILES }, BOTH]
  : [BOTH];

/** Further errors that the end of a peer may cause. */
const BROKEN_OFF = /ended in the middle of a message/;

const { SIGKILL, SIGSTOP } = constants.signals;

interface Run {
  kind: WireKind;
  role: Role;
  folder: string;
  faults: Faults;
  env: Record<string, string>;
  action: Action;
  signal: number;
  /** The number of the system call. */
  at: number;
}

class Survivor {
  readonly #run: Run;
  readonly wire: Wire;
  readonly child: ChildProcess;
  readonly #theirs: string[];
  readonly #ours: string[] = [];
  readonly #resolved: string[] = [];
  readonly #rejected: string[] = [];
  readonly #sends: Promise<void>[];

  constructor(run: Run) {
    const { kind, role, folder } = run;
    this.#run = run;
    this.#theirs = Array.from({ length: role.sends }, (_, i) => newFile(`${folder}/${i}`));
    for (const name of ['sent', 'took', 'told']) writeFileSync(`${folder}/${name}`, '');
    run.faults.set({ call: '*', action: run.action, value: run.signal, first: run.at });
    const [ours, peer] = socketpair({ type: kind.type });
    const args = [kind.name, folder, `${role.sends}`, `${role.receives}`];
    this.child = startChild('native/victim', { peer, args, env: run.env });
    peer.close();
    this.wire = kind.open(ours);
    this.#sends = Array.from({ length: role.receives }, () => this.#send());
    this.wire.ask(role.sends);
  }

  get complete(): boolean {
    return this.wire.got.length === this.#run.role.sends && this.#resolved.length === this.#run.role.receives;
  }

  async #send(): Promise<void> {
    const fd = anonymousFile();
    const id = identity(fd);
    this.#ours.push(id);
    try {
      await this.wire.send(fd);
      this.#resolved.push(id);
    } catch {
      this.#rejected.push(id);
      if (!this.#run.kind.givesBack) return;
      assert.equal(identity(fd), id, 'rejected, and not given back');
      closeSync(fd);
    }
  }

  /** What the peer had sent was received before, because a send that finds the peer gone drops it. */
  async sendsToNobody(): Promise<void> {
    await idle();
    const fd = anonymousFile();
    await assert.rejects(this.wire.send(fd), (error: NodeJS.ErrnoException) => PEER_GONE.has(-error.errno!));
    closeSync(fd);
  }

  /**
   * Compares what each side reports as sent and taken with the other side's report. Returns how many were taken and not
   * confirmed.
   */
  async check(): Promise<number> {
    await Promise.all(this.#sends);
    const { kind, folder } = this.#run;
    const [sent, took, told] = ['sent', 'took', 'told'].map((name) => lines(`${folder}/${name}`)) as [
      string[],
      string[],
      string[],
    ];
    const { got } = this.wire;
    assert.deepEqual(got, this.#theirs.slice(0, got.length), 'received out of order, or twice');
    assert.deepEqual(took, this.#ours.slice(0, took.length), 'taken out of order, or twice');
    if (kind.confirms) {
      assert.deepEqual(
        this.#resolved.filter((id) => !took.includes(id)),
        [],
        'confirmed, and never taken',
      );
      // What asks for a confirmation may come a turn after its message where each is a packet.
      if (kind.type === 'stream')
        assert.deepEqual(
          told.filter((id) => !this.#resolved.includes(id)),
          [],
          'confirmed, and not heard',
        );
      assert.deepEqual(
        sent.filter((id) => !got.includes(id)),
        [],
        'confirmed to the dead, and never taken',
      );
    } else if (kind.givesBack)
      assert.deepEqual(
        took.filter((id) => this.#rejected.includes(id)),
        [],
        'taken, and given back',
      );
    return took.filter((id) => this.#rejected.includes(id)).length;
  }
}

function newFile(path: string): string {
  const fd = openSync(path, 'w');
  const id = identity(fd);
  closeSync(fd);
  return id;
}

function lines(path: string): string[] {
  return readFileSync(path, 'utf8').split('\n').slice(0, -1);
}

/** Returns how many messages were taken and not confirmed, or undefined when the victim made fewer calls than that. */
async function killed(run: Run): Promise<number | undefined> {
  const survivor = new Survivor(run);
  const { wire, child } = survivor;
  const death = ended(child);
  // The end of a datagram socket is noticed only when something is sent.
  if (run.kind.type === 'dgram') {
    await death;
    await survivor.sendsToNobody();
  }
  await until(() => survivor.complete || wire.end !== undefined);
  if (wire.end === undefined) wire.close();
  const { code, signal, stderr } = await death;
  assert.equal(stderr, '');
  await until(() => wire.end !== undefined);
  const error: NodeJS.ErrnoException | undefined = wire.end!.error;
  if (error !== undefined) assert.ok(PEER_GONE.has(-error.errno!) || BROKEN_OFF.test(error.message), error.message);
  const untold = await survivor.check();
  if (run.faults.count().hit > 0) {
    assert.equal(signal, 'SIGKILL');
    return untold;
  }
  assert.deepEqual({ code, signal, complete: survivor.complete }, { code: 0, signal: null, complete: true });
  return undefined;
}

/** Returns 0, or undefined when the victim made fewer calls than that. */
async function stopped(run: Run): Promise<number | undefined> {
  const survivor = new Survivor(run);
  const { wire, child } = survivor;
  const end = ended(child);
  const stop = goOn(child);
  await until(() => survivor.complete || wire.end !== undefined);
  if (wire.end === undefined) wire.close();
  const { code, signal, stderr } = await end;
  await until(() => wire.end !== undefined);
  assert.deepEqual(
    { code, signal, stderr, complete: survivor.complete, error: wire.end!.error },
    { code: 0, signal: null, stderr: '', complete: true, error: undefined },
  );
  assert.equal(await survivor.check(), 0);
  const { hit } = run.faults.count();
  assert.equal(await stop, hit > 0);
  return hit > 0 ? 0 : undefined;
}

/** Continues a child once it is stopped and this process is idle. Returns whether it was stopped. */
async function goOn(child: ChildProcess): Promise<boolean> {
  await until(() => isStopped(child.pid!) || child.exitCode !== null);
  if (child.exitCode !== null) return false;
  await idle();
  return child.kill('SIGCONT');
}

function isStopped(pid: number): boolean {
  return existsSync(`/proc/${pid}/stat`) && / T /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
}

const WAYS = [
  ['killed before', SIGKILL, 'signal before', killed],
  ['killed after', SIGKILL, 'signal after', killed],
  ['stopped before', SIGSTOP, 'signal before', stopped],
  ['stopped after', SIGSTOP, 'signal after', stopped],
] as const;

for (const [way, [what, signal, action, run]] of WAYS.entries()) {
  for (const [number, kind] of WIRES.filter(({ askedLate }) => !askedLate).entries()) {
    // In part each way is tried with one wire.
    const isShown = ALL || way === number;
    for (const role of ROLES)
      partly(isShown)(
        `nothing is lost, doubled or wrongly confirmed when a peer that ${role.name} is ${what} any of its system calls: ${kind.name}`,
        () =>
          withFaults(async (faults, env) => {
            let at = 1;
            let total = 0;
            for (;;) {
              const before = openDescriptors();
              const untold = await inFolder((folder) =>
                run({ kind, role, folder, faults, env, action, signal, at }),
              ).catch((cause: unknown) => {
                const why = cause instanceof Error ? cause.message : String(cause);
                throw new Error(`${what} call ${at} (${faults.trace()[at - 1]}): ${why}`, { cause });
              });
              faults.trace();
              await until(() => leftOpen(before).length === 0).catch(() =>
                assert.fail(`left open: ${leftOpen(before).join(', ')}`),
              );
              if (untold === undefined) break;
              total += untold;
              at += STRIDE;
            }
            assert.ok(at > 1, 'the victim made no call');
            if (ALL)
              console.log(`${kind.name}: ${role.name}, ${what} each of ${at - 1} calls, ${total} taken but not told`);
          }),
      );
  }
}
