/** What the figures of a takeover should come to, each the median of its runs. */
import { IDLE, middle, WEB_SOCKETS } from './measure.js';

const ms = (value) => `${value.toFixed(1)} ms`;
const seconds = (value) => `${(value / 1000).toFixed(2)} s`;
const times = (value) => value.toFixed(2);
const count = (value) => value.toLocaleString('en');
const percent = (value) => `${(value * 100).toFixed(1)} %`;

const slowest = ({ old, heir }) => Math.max(old.tick, heir.tick);

export function judgeTakeover({ replaced, moved, cost }) {
  const { runs } = replaced.takeover;
  return [
    atMost(
      20,
      'longest time without any answer during an upgrade, beyond that at rest',
      ms,
      middle(runs, ({ rest, upgrade }) => upgrade.gap - rest.gap),
    ),
    atMost(
      2,
      '99th percentile of a response during an upgrade, against that at rest',
      times,
      middle(runs, ({ rest, upgrade }) => upgrade.p99 / rest.p99),
    ),
    ...[
      [`${count(IDLE)} idle keep-alive connections`, moved.idle],
      [`${count(WEB_SOCKETS)} WebSockets`, moved.webSockets],
    ].flatMap(([what, runs]) => [
      atMost(
        2000,
        `${what} moved`,
        seconds,
        middle(runs, ({ old }) => old.took),
      ),
      atMost(10, 'longest turn of the event loop meanwhile, of both processes', ms, middle(runs, slowest)),
    ]),
    atMost(
      0.03,
      'requests per second at rest that `register` costs',
      percent,
      middle(cost, ({ plain, register }) => 1 - register.rate / plain.rate),
    ),
  ];
}

function atMost(most, what, show, value) {
  return { what, target: `at most ${show(most)}`, value, measured: show(value), met: value <= most };
}
