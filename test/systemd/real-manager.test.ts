import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { amount } from '../support/amount.js';
import { Folder } from '../support/command.js';
import { until } from '../support/descriptors.js';
import { Systemd } from '../support/real-systemd.js';
import { Load } from '../support/takeover.js';
import { test } from '../support/test.js';

/** It starts programs in an environment of their own, without the sanitizers that the core is built with then. */
const SANITIZED = process.env['PRELOAD'] === undefined ? false : 'the core is built with sanitizers';
const SERVICE = fileURLToPath(new URL('children/service.js', import.meta.url));
const REPLACED = fileURLToPath(new URL('children/replaced.js', import.meta.url));
const WEB = fileURLToPath(new URL('../cli/children/web.js', import.meta.url));

const always = (command: string, more = ''): string => `[Unit]
DefaultDependencies=no
StartLimitIntervalSec=0
[Service]
Type=notify
NotifyAccess=all
ExecStart=${command}
Restart=always
RestartSec=0
${more}`;

/** What a server of `node:net` says at a path before it closes; its error when it refuses. */
function ask(path: string, question = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => socket.write(question));
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(text));
  });
}

test(
  'under the real systemd a service with its socket in the store is killed again and again and refuses nobody',
  async () => {
    using folder = new Folder();
    const path = folder.at('web');
    const service = always(`${process.execPath} ${SERVICE} serves ${path} keep`, 'FileDescriptorStoreMax=4');
    await using systemd = await Systemd.start({ 'web.service': service });
    await systemd.systemctl('start', 'web');
    const answers = new Set<string>();
    let refused = 0;
    const kills = amount(5, 2);
    for (let kill = 0; kill < kills; kill++) {
      await systemd.systemctl('kill', '--signal=KILL', 'web');
      const before = answers.size;
      while (answers.size === before)
        try {
          const text = await ask(path);
          if (text !== '') answers.add(text); // else it was killed with the connection in hand
        } catch {
          refused++;
        }
    }
    assert.equal(refused, 0);
    assert.equal(await systemd.property('web', 'NRestarts'), `${kills}`);
    assert.equal(await systemd.property('web', 'NFileDescriptorStore'), '1');
  },
  SANITIZED,
);

const socket = (path: string): string => `[Unit]
DefaultDependencies=no
[Socket]
ListenStream=${path}
FileDescriptorName=web
`;

test(
  'the real systemd starts fdpasser exec at the first connection, and reloads it with one main pid',
  async () => {
    using folder = new Folder();
    const path = folder.at('web');
    const service = always(
      `${folder.at('fdpasser')} exec --notify -- ${process.execPath} ${WEB}`,
      `WorkingDirectory=${folder.path}\nExecReload=kill -HUP $MAINPID\n`,
    );
    await using systemd = await Systemd.start({ 'web.socket': socket(path), 'web.service': service });
    writeFileSync(folder.at('behaviour'), 'one');
    await systemd.systemctl('start', 'web.socket');
    assert.equal(await systemd.property('web', 'MainPID'), '0');
    const load = new Load({ socketPath: path });
    await load.answers(5);
    const main = await systemd.property('web', 'MainPID');
    for (const version of ['two', 'three']) {
      writeFileSync(folder.at('behaviour'), version);
      await systemd.systemctl('reload', 'web');
      await until(() => [...load.pids].some((answer) => answer.startsWith(version)));
    }
    await load.stop();
    assert.deepEqual(load.errors, []);
    assert.equal(load.pids.size, 3);
    assert.equal(await systemd.property('web', 'MainPID'), main);
    assert.equal(await systemd.property('web', 'NRestarts'), '0');
  },
  SANITIZED,
);

test(
  'the real systemd knows the main process of a service that is replaced by takeover, and starts none itself',
  async () => {
    using folder = new Folder();
    const path = folder.at('web');
    const service = always(
      `${process.execPath} ${REPLACED} ${folder.at('control')} ${path}`,
      'ExecReload=kill -HUP $MAINPID',
    );
    await using systemd = await Systemd.start({ 'web.service': service });
    await systemd.systemctl('start', 'web');
    const main = (): Promise<string> => systemd.property('web', 'MainPID');
    const load = new Load({ socketPath: path });
    for (let reload = 0; reload < 2; reload++) {
      const before = await main();
      await systemd.systemctl('reload', 'web');
      while ((await main()) === before) await sleep(10);
      await load.answers(5);
      assert.ok(load.pids.has(await main()));
    }
    await load.stop();
    assert.deepEqual(load.errors, []);
    assert.equal(load.pids.size, 3);
    assert.equal(await systemd.property('web', 'ActiveState'), 'active');
    assert.equal(await systemd.property('web', 'NRestarts'), '0');
    // It starts the one that is the main process by now.
    await systemd.systemctl('kill', '--kill-who=main', '--signal=KILL', 'web');
    while ((await systemd.property('web', 'NRestarts')) !== '1') await sleep(10);
  },
  SANITIZED,
);

test(
  'the real systemd starts a service again whose watchdog is silent, and not one whose is not',
  async () => {
    using folder = new Folder();
    const path = folder.at('web');
    const service = always(`${process.execPath} ${SERVICE} hangs`, 'WatchdogSec=1');
    await using systemd = await Systemd.start({ 'web.socket': socket(path), 'web.service': service });
    await systemd.systemctl('start', 'web.socket', 'web.service');
    const before = await ask(path);
    const told = async (): Promise<number> => Number(await systemd.property('web', 'WatchdogTimestampMonotonic'));
    const first = await told();
    while ((await told()) - first < 2_000_000) await sleep(100); // microseconds
    assert.equal(await ask(path), before);
    await ask(path, 'hang').catch(() => {});
    while ((await ask(path)) === before) await sleep(10); // another connection may come before it
    assert.equal(await systemd.property('web', 'NRestarts'), '1');
  },
  SANITIZED,
);
