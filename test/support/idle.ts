import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

/** Waits for the event loop to have nothing to do: one that spins never has. */
export async function idle(): Promise<void> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    const before = performance.eventLoopUtilization();
    await sleep(20);
    if (performance.eventLoopUtilization(before).utilization < 0.5) return;
    assert.ok(performance.now() < deadline, 'the event loop spins');
  }
}
