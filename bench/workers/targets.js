/** What the figures of workers should come to, against node:cluster in the same run. */
import { CLIENTS } from './measure.js';

const percent = (value) => `${(value * 100).toFixed(1)} %`;
const times = (value) => value.toFixed(2);

export function judgeWorkers({ fdpasser, 'round-robin': roundRobin, shared }) {
  const under = ['few', 'many'].flatMap((load) => [
    atLeast(
      3,
      `processor time of SCHED_RR for a connection, against the supervisor: ${CLIENTS[load]} clients`,
      roundRobin[load].cpu / fdpasser[load].cpu,
    ),
    atMost(
      1,
      `99th percentile of a request over a new connection, against the lower of the two: ${CLIENTS[load]} clients`,
      times,
      fdpasser[load].p99 / Math.min(roundRobin[load].p99, shared[load].p99),
    ),
    atMost(0.55, `share of the worker with the most of two: ${CLIENTS[load]} clients`, percent, fdpasser[load].most),
  ]);
  return [
    ...under,
    atLeast(1, 'requests per second over kept connections, against SCHED_RR', fdpasser.kept / roundRobin.kept),
  ];
}

function atLeast(least, what, value) {
  return { what, target: `at least ${times(least)}`, value, measured: times(value), met: value >= least };
}

function atMost(most, what, show, value) {
  return { what, target: `at most ${show(most)}`, value, measured: show(value), met: value <= most };
}
