/**
 * The process's descriptor table: room in it ahead of need, and word of a slot set free.
 */
import { addon } from '../native/load.js';

/** From a growth on, the table is this many times as large: the next one then starts long before it is needed. */
const GROWTH = 4;

/** Enough that most programs grow their table once, and 64 KiB of kernel memory. */
const FIRST_GROWTH = 4096;

/** Milliseconds. */
const SOON = 25;

let highest = 0;
let prepared = false;
/** No thread could be started for it, so receives must do it. */
let cannotGrow = false;

/** Notes the number of a descriptor that was received: the kernel gives out the lowest free one. */
export function noteNumber(fd: number): void {
  if (fd > highest) highest = fd;
}

/**
 * Sees to it that the table grows soon, in the background, so that receives find it large enough. Not at once: a
 * process that ends meanwhile would wait for that.
 */
export function prepareTable(): void {
  if (prepared) return;
  prepared = true;
  setTimeout(() => {
    if (addon.tableSlots() < FIRST_GROWTH) addon.growTable(FIRST_GROWTH);
  }, SOON).unref();
}

/**
 * How many of `wanted` descriptors can be received without growing the table inside the receive, which would stop the
 * event loop for tens of milliseconds. Where that is not all, ask again soon.
 */
export function roomFor(wanted: number): number {
  const slots = addon.tableSlots();
  if (highest >= slots / GROWTH) growTable();
  return cannotGrow ? wanted : Math.min(wanted, slots - highest - 1);
}

/** Starts growing the table in the background, unless that is under way. */
export function growTable(): void {
  if (addon.growTable(addon.tableSlots() * GROWTH) < 0) cannotGrow = true;
}

/** Waits for a free slot. */
export interface SlotWaiter {
  tryAgain(): void;
}

const waiting = new Set<SlotWaiter>();

/** Has it try once, when the loop has turned after this library closes a descriptor. */
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
