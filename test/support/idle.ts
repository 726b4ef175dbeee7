import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

/** Waits until the event loop has nothing to do. A loop that spins never gets there. */
export async function idle(): Promise<void> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    const before = performance.eventLoopUtilization();
    await sleep(20);
    if (performance.eventLoopUtilization(before).utilization < 0.5) return;
    assert.ok(performance.now() < deadline, 'the event loop spins');
  }
}
