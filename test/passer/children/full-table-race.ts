/**
 * Receives descriptors until its parent closes, and keeps so many open that few slots are left. All threads of libuv's
 * pool compete for these. argv: the limit of descriptors, how many the largest message has, how many different files
 * there are, an empty folder.
 */
import assert from 'node:assert/strict';
import { close, open, readdir } from 'node:fs';
import { FdPasser, type OwnedFd } from 'fdpasser';
import { identity, leftOpen, openDescriptors, until } from '../../support/descriptors.js';

export interface Report {
  received: number;
  /** The files in the order in which they came first. */
  files: string[];
  outOfOrder: number;
  exhausted: number;
  resumed: number;
  opened: number;
  refused: number;
  /** The code of the error that broke the passer. */
  error?: string | undefined;
}

const [limit, batch, files] = process.argv.slice(2, 5).map(Number) as [number, number, number];
const folder = process.argv[5]!;
const THREADS = 4;
const ASKED = 256;

let racers = 0;
let over = false;
const report: Report = { received: 0, files: [], outOfOrder: 0, exhausted: 0, resumed: 0, opened: 0, refused: 0 };

/** Holds a slot from one turn of the loop to the next. */
function openAndClose(): void {
  if (stopped()) return;
  open('/dev/null', 'r', (error, fd) => {
    if (note(error)) close(fd, openAndClose);
    else openAndClose();
  });
}

/** Opens and closes within the thread, also while this one is busy receiving. */
function list(): void {
  if (stopped()) return;
  readdir(folder, (error) => {
    note(error);
    list();
  });
}

function stopped(): boolean {
  if (over) racers--;
  return over;
}

function note(error: NodeJS.ErrnoException | null): boolean {
  if (error === null) report.opened++;
  else {
    assert.equal(error.code, 'EMFILE');
    report.refused++;
  }
  return error === null;
}

const before = openDescriptors();
before.delete(3);
const passer = FdPasser.inherit();
const kept: OwnedFd[] = [];
const room = limit - openDescriptors().size - (batch - 1);

function received(fd: OwnedFd): void {
  const file = identity(fd.fd);
  const place = report.received++ % files;
  if (report.files.length < files) report.files.push(file);
  else if (report.files[place] !== file) report.outOfOrder++;
  kept.push(fd);
  // Sometimes there is no slot for the threads, sometimes more than they can take.
  const spare = (report.received >> 8) % (3 * THREADS);
  while (kept.length > room - spare) kept.shift()!.close();
  passer.pushRecvFh(received);
}

passer.on('exhausted', () => {
  report.exhausted++;
  for (const fd of kept.splice(0)) fd.close();
});
passer.on('resumed', () => report.resumed++);
passer.on('error', (error: NodeJS.ErrnoException) => (report.error = error.code));
for (let i = 0; i < ASKED; i++) passer.pushRecvFh(received);
for (; racers < THREADS; racers++) openAndClose();
for (; racers < 16 * THREADS; racers++) list();

await new Promise<void>((resolve) => passer.on('close', resolve));
over = true;
await until(() => racers === 0);
for (const fd of kept) fd.close();
assert.deepEqual(leftOpen(before), []);
process.send!(report, () => process.disconnect());
