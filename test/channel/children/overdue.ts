/**
 * A request times out while it stands ready to be sent, beside a message whose descriptor is closed meanwhile, and no
 * descriptor can be copied. Reports what became of both, and whether the peer was sent the request.
 */
import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { FdChannel, socketpair } from 'fdpasser';
import { RawPeer } from '../../support/channels.js';
import { anonymousFile, isOpen, until } from '../../support/descriptors.js';
import { fillTable } from '../../support/fill-table.js';
import { turns } from '../../support/passing.js';

const codeOf = (error: NodeJS.ErrnoException): string => error.code!;

const [a, b] = socketpair();
const sameEnd = new RawPeer(a.dup());
const channel = new FdChannel<string>(a);
const peer = new RawPeer(b);
peer.hello();
await channel.send('first');
while (sameEnd.trySend(Buffer.alloc(4096)) > 0); // the peer is raw, and takes this for nothing

const [lent, asked] = [anonymousFile(), anonymousFile()];
const beside = channel.send('beside', [lent], { keepOpen: true }).then(() => 'sent', codeOf);
let outcome: string | undefined;
void channel.request('overdue', [asked], { timeout: 500 }).catch((error: NodeJS.ErrnoException) => {
  outcome = codeOf(error);
});
await turns(); // both stand ready, and find no room

const filler = fillTable();
await sleep(600);
const early = outcome;
closeSync(lent);
for (const fd of filler) closeSync(fd);
void channel.send('behind');
await until(() => peer.receive().includes('behind'));
await until(() => outcome !== undefined);
const report = { early, beside: await beside, outcome, asked: isOpen(asked), came: peer.receive().includes('overdue') };
closeSync(asked);
channel.destroy();
peer.close();
sameEnd.close();
process.send!(report, () => process.disconnect());
