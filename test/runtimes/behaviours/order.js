// 10,000 descriptors of 100 files, in an order that no other mistake would give, arrive in that order.
import assert from 'node:assert/strict';
import { identity, newFile, passers } from './support.js';

const COUNT = 10_000;
const files = Array.from({ length: 100 }, () => newFile());
const identities = files.map(identity);
const nth = (i) => (i * i + 7 * (i >> 4)) % files.length;

for (const batch of [1, 64]) {
  const [a, b] = passers({ batch });
  for (let i = 0; i < COUNT; i++) a.pushSendFh(files[nth(i)], { keepOpen: true });
  for (let i = 0; i < COUNT; i++) {
    const fd = await b.receive();
    assert.equal(identity(fd.fd), identities[nth(i)], `the one at ${i}, ${batch} a message`);
    fd.close();
  }
  a.destroy();
  b.destroy();
}
console.log(`${COUNT} in order, 1 a message and 64 a message`);
