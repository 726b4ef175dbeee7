/** Asks twice, waits for the first reply and a while for the second, and then has nothing more to do. */
import assert from 'node:assert/strict';
import { FdChannel } from 'fdpasser';

process.disconnect();
const channel = FdChannel.inherit<string>();
console.log((await channel.request('first')).value);
await assert.rejects(channel.request('unanswered', [], { timeout: 50 }), { code: 'ERR_FDPASSER_TIMEOUT' });
