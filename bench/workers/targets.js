/** What the figures of workers should come to, against node:cluster in the same run. */
const percent = (value) => `${(value * 100).toFixed(1)} %`;
const times = (value) => value.toFixed(2);

export function judgeWorkers({ fdpasser, 'round-robin': roundRobin, shared }) {
  return [
    atLeast(3, 'processor time of SCHED_RR for a connection, against the supervisor', roundRobin.cpu / fdpasser.cpu),
    atLeast(1, 'requests per second over kept connections, against SCHED_RR', fdpasser.kept / roundRobin.kept),
    atMost(
      1,
      '99th percentile of a request over a new connection, against the lower of the two',
      times,
      fdpasser.p99 / Math.min(roundRobin.p99, shared.p99),
    ),
    atMost(0.55, 'share of the worker with the most of two', percent, fdpasser.most),
  ];
}

function atLeast(least, what, value) {
  return { what, target: `at least ${times(least)}`, value, measured: times(value), met: value >= least };
}

function atMost(most, what, show, value) {
  return { what, target: `at most ${show(most)}`, value, measured: show(value), met: value <= most };
}
