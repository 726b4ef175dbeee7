/**
 * The process's descriptor table: room in it ahead of need, and word of a slot set free.
 */
import { addon } from '../native/load.js';

/** From a growth on, the table is this many times as large: the next one then starts long before it is needed. */
const GROWTH = 4;

/** Enough that most programs grow their table once, and 64 KiB of kernel memory. */
const FIRST_GROWTH = 4096;

let highest = 0;

/** Notes the number of a descriptor that was received: the kernel gives out the lowest free one. */
export function noteNumber(fd: number): void {
  if (fd > highest) highest = fd;
}

/** Starts growing the table in the background, so that the first receives find it large enough. */
export function prepareTable(): void {
  if (addon.tableSlots() < FIRST_GROWTH) addon.growTable(FIRST_GROWTH);
}

/**
 * How many of `wanted` descriptors can be received without growing the table inside the receive, which would stop the
 * event loop for tens of milliseconds. Where that is not all, growing goes on in the background: ask again soon.
 */
export function roomFor(wanted: number): number {
  const slots = addon.tableSlots();
  if (highest + wanted >= slots / GROWTH && addon.growTable(slots * GROWTH) < 0) return wanted;
  return Math.min(wanted, slots - highest - 1);
}

/** Waits for a free slot. */
export interface SlotWaiter {
  tryAgain(): void;
}

const waiting = new Set<SlotWaiter>();

/** Has it try once, on the next tick after this library closes a descriptor. */
export function whenSlotFreed(waiter: SlotWaiter): void {
  waiting.add(waiter);
}

export function forgetSlot(waiter: SlotWaiter): void {
  waiting.delete(waiter);
}

/** Tells those who wait that a descriptor was closed. */
export function slotFreed(): void {
  if (waiting.size === 0) return;
  for (const waiter of waiting) process.nextTick(() => waiter.tryAgain());
  waiting.clear();
}
