import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { inspect } from 'node:util';
import { FdPasser, OwnedFd, socketpair } from 'fdpasser';
import { test } from '../support/test.js';

test('an OwnedFd is shown with its number, kind and state', async () => {
  const passer = new FdPasser();
  const owned = new OwnedFd(openSync('/dev/null', 'r'));
  const { fd } = owned;
  assert.equal(inspect(owned), `OwnedFd { fd: ${fd}, kind: 'character-device', state: 'open' }`);
  assert.match(inspect({ list: [owned] }), /OwnedFd \{ fd: \d+, kind: 'character-device', state: 'open' \}/);

  const sent = passer.send(owned, { keepOpen: true });
  assert.equal(inspect(owned), `OwnedFd { fd: ${fd}, kind: 'character-device', state: 'open', loans: 1 }`);
  owned.close();
  assert.equal(inspect(owned), `OwnedFd { fd: ${fd}, kind: 'character-device', state: 'closing', loans: 1 }`);
  const [one, other] = socketpair();
  const given = passer.send(one);
  assert.match(inspect(one), /OwnedFd \{ fd: \d+, kind: 'unix-stream', state: 'given', loans: 1 \}/);
  passer.destroy();
  await assert.rejects(sent);
  await assert.rejects(given);
  assert.equal(inspect(owned), "OwnedFd { state: 'closed' }");
  assert.match(inspect(one), /state: 'open' \}/);
  one.close();
  other.close();
  await assert.rejects(async () => passer.receive());
});

test('an OwnedFd whose number something else has closed is shown as closed by something else', () => {
  const owned = new OwnedFd(openSync('/dev/null', 'r'));
  closeSync(owned.fd);
  assert.match(inspect(owned), /kind: 'not open any more', state: 'open'/);
  assert.throws(() => owned.close(), { code: 'ERR_FDPASSER_CLOSED_BEHIND' });
});
