import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { ended } from './child.js';
import { inFolder } from './descriptors.js';
import { needs } from './needs.js';

/** Everyone may do everything, and a thousand calls with descriptors may be under way at once. */
const config = (socket: string): string => `<!DOCTYPE busconfig PUBLIC
  "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=${socket}</listen>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
  <limit name="max_incoming_unix_fds">100000</limit>
  <limit name="max_outgoing_unix_fds">100000</limit>
  <limit name="max_replies_per_connection">10000</limit>
</busconfig>
`;

/** Runs `body` with a new dbus-daemon and the path of its socket. */
export async function withSessionBus(body: (socket: string) => Promise<void>): Promise<void> {
  needs('dbus-daemon');
  await inFolder(async (folder) => {
    const socket = `${folder}/bus`;
    writeFileSync(`${folder}/config`, config(socket));
    const { LD_PRELOAD: _, ...env } = process.env; // the guard is for Node
    const daemon = spawn(
      'dbus-daemon',
      [`--config-file=${folder}/config`, '--nofork', '--nopidfile', '--print-address'],
      { stdio: ['ignore', 'pipe', 'pipe'], env },
    );
    const end = ended(daemon);
    try {
      const [address] = (await once(createInterface(daemon.stdout), 'line')) as [string];
      assert.match(address, /^unix:path=/);
      await body(socket);
    } finally {
      daemon.kill();
      await end;
    }
    const { code, signal } = await end;
    assert.deepEqual({ code, signal }, { code: 0, signal: null });
  });
}
