// Sends two descriptors and stays until it is killed.
import { openSync } from 'node:fs';
import { FdPasser } from 'fdpasser';

const passer = FdPasser.inherit();
for (let i = 0; i < 2; i++) passer.pushSendFh(openSync('/dev/null', 'r'));
await passer.receive();
