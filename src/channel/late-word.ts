/** Whoever has something to tell that nobody waits for. */
export interface Teller {
  /** Tells it soon, unless it has told by then. */
  tell(): void;
  /** Tells it before it returns, where that can be. */
  tellNow(): void;
}

/** How long a peer hears nothing at most, in milliseconds. Only a process that is killed within it has not told. */
const LATEST = 200;

let tellers: Teller[] = [];
let listens = false;

/** Has it tell in a while, or when the process exits. One timer does for all of a thread, and keeps nothing alive. */
export function tellLater(teller: Teller): void {
  if (tellers.push(teller) === 1) setTimeout(tellAll, LATEST).unref();
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
