/** The process's descriptor table: grows it ahead of need, and tells when a slot becomes free. */
import { addon, batch } from '../native/load.js';

/** Each growth makes the table this many times as large, so that the next one begins long before it is needed. */
const GROWTH = 4;

/** Slots. So large that most programs grow their table only once, for 64 KiB of kernel memory. */
const FIRST_GROWTH = 4096;

/** Milliseconds until the first growth. */
const SOON = 25;

/** What the core answers if the table is as large as the limit allows. */
const UNLIMITED = 0x7fff_ffff;

let highest = 0;
/** Slots that the table is known to have. It never shrinks. */
let known = 0;
let prepared = false;
/** Whether no thread could be started to grow the table, so that a receive must grow it. */
let cannotGrow = false;

/**
 * Notes the number of a received descriptor. The kernel returns the lowest free one, so the highest tells how full the
 * table is.
 */
export function noteNumber(fd: number): void {
  if (fd > highest) highest = fd;
}

/**
 * Starts the first growth soon, in the background, so that receives find the table large enough. It does not start at
 * once, because a process that ends meanwhile would have to wait for it.
 */
export function prepareTable(): void {
  if (prepared) return;
  prepared = true;
  setTimeout(() => {
    if (addon.tableSlots() < FIRST_GROWTH) addon.growTable(FIRST_GROWTH);
  }, SOON).unref();
}

/**
 * Returns how many of `wanted` descriptors can be received without growing the table inside the receive, which would
 * stop the event loop for tens of milliseconds. If that is not all of them, ask again soon.
 */
export function roomFor(wanted: number): number {
  if (highest < known / GROWTH && highest + wanted < known) return wanted;
  const slots = addon.tableSlots();
  if (slots < UNLIMITED) known = slots; // otherwise the limit can still be raised
  if (highest >= slots / GROWTH) growTable();
  return cannotGrow ? wanted : Math.min(wanted, slots - highest - 1);
}

/** Starts growing the table in the background, unless that is under way. */
export function growTable(): void {
  if (addon.growTable(addon.tableSlots() * GROWTH) < 0) cannotGrow = true;
}

/** Returns how many slots are free at this instant, or `most` if there are more. It takes them for that instant. */
export function freeSlots(most: number): number {
  let count = 0;
  for (let fd = 0; count < most && (fd = addon.dup(0)) >= 0; count++) batch.fd[count] = fd;
  addon.closeAll(count);
  return count;
}

/** What waits for a free slot. */
export interface SlotWaiter {
  tryAgain(): void;
}

const waiting = new Set<SlotWaiter>();

/** Makes it try once: this library closes a descriptor, and then the loop turns. */
export function whenSlotFreed(waiter: SlotWaiter): void {
  waiting.add(waiter);
}

export function forgetSlot(waiter: SlotWaiter): void {
  waiting.delete(waiter);
}

/** Tells those who wait that a descriptor was closed. */
export function slotFreed(): void {
  if (waiting.size === 0) return;
  for (const waiter of waiting) setImmediate(() => waiter.tryAgain());
  waiting.clear();
}
