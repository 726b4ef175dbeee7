/** What has something to tell its peer that nobody waits for. */
export interface Teller {
  /** Tells what it had to tell when it called `tellLater`, unless that was done in the meantime. */
  tell(): void;
  /** Tells it before it returns, if that is possible. */
  tellNow(): void;
}

/**
 * Milliseconds after which those are asked to tell. So a peer is told within twice that time. Only a process that is
 * killed within it does not tell.
 */
const LATER = 200;

let tellers: Teller[] = [];
let listens = false;

/**
 * Makes it tell after a while, or when the process exits. A thread has one timer for all of them, which does not keep
 * the process alive.
 */
export function tellLater(teller: Teller): void {
  if (tellers.push(teller) === 1) setTimeout(tellAll, LATER).unref();
  if (!listens) process.on('exit', tellAtExit);
  listens = true;
}

function tellAll(): void {
  for (const teller of taken()) teller.tell();
}

function tellAtExit(): void {
  for (const teller of taken()) teller.tellNow();
}

function taken(): Teller[] {
  const all = tellers;
  tellers = [];
  return all;
}
