/** Aborts a send to a peer that says nothing, and then has nothing more to do. */
import assert from 'node:assert/strict';
import { FdChannel } from 'fdpasser';

process.disconnect();
const channel = FdChannel.inherit();
const abort = new AbortController();
const send = channel.send('a', [], { signal: abort.signal });
setTimeout(() => abort.abort(), 10);
await assert.rejects(send, { name: 'AbortError' });
