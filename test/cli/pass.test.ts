import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { connect as connectNode } from 'node:net';
import { FdChannel } from '#dist/index.js';
import { amount } from '../support/amount.js';
import { ended } from '../support/child.js';
import { Folder } from '../support/command.js';
import { listens } from '../support/connection.js';
import { until } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { test, testInFull } from '../support/test.js';

/** The output of a script of bash in a new folder. */
async function output(script: string): Promise<string> {
  using folder = new Folder();
  const { code, signal, stdout } = await folder.shell(script);
  assert.deepEqual({ code, signal }, { code: 0, signal: null }, stdout);
  return stdout;
}

test('the program of recv has the files that were sent, in order, each as an argument and as a descriptor', async () => {
  using folder = new Folder();
  for (const name of ['one', 'two', 'three']) writeFileSync(folder.at(name), name);
  const { stdout } = await folder.shell(`
    fdpasser recv socket -- sh -c 'printf "%s\\n" "$@"; stat -L -c %d:%i /proc/self/fd/3 /proc/self/fd/4 /proc/self/fd/5' sh {} --of={} &
    fdpasser send --timeout 60 socket one -7 ./three 7>>two && wait`);
  const identity = (name: string): string => `${statSync(folder.at(name)).dev}:${statSync(folder.at(name)).ino}`;
  const names = '/dev/fd/3 /dev/fd/4 /dev/fd/5 --of=/dev/fd/3 --of=/dev/fd/4 --of=/dev/fd/5'.split(' ');
  assert.deepEqual(stdout.trimEnd().split('\n'), [...names, ...['one', 'two', 'three'].map(identity)]);
});

/** The process has read a line of a file, and passes the file on. */
const passingOn = (what: string): string => `
  printf 'first\\nsecond\\n' > lines
  fdpasser recv socket -- sh -c 'cat <&3' &
  exec 5<lines; read line <&5
  fdpasser send --timeout 60 socket ${what} && wait`;

test("a descriptor of the shell keeps the shell's position, and a file that is opened again starts at its beginning", async () => {
  assert.equal(await output(passingOn('-5')), 'second\n');
  assert.equal(await output(passingOn('lines')), 'first\nsecond\n');
});

testInFull("recv ends with its program's exit code, and with 125 to 127 when it could not run one", async () => {
  for (const [program, code] of [
    ['true', 0],
    [`sh -c 'exit 7'`, 7],
    [`sh -c 'kill -9 $$'`, 137],
    ['nonesuch', 127],
    ['/dev/null', 126],
  ] as const)
    assert.match(
      await output(
        `fdpasser recv socket -- ${program} & fdpasser send --timeout 60 socket -0; wait $!; echo "code $?"`,
      ),
      new RegExp(`code ${code}\n$`),
    );
  assert.match(await output('fdpasser recv --timeout 0.1 socket -- true; echo $?'), /Nobody sent anything.*\n125\n$/);
  assert.match(await output('fdpasser recv socket; echo $?'), /CMD is missing.*\n.*\n125\n$/);
});

test('send fails at once where nobody listens, and waits for a listener only as long as it is told to', async () => {
  assert.match(await output('fdpasser send socket -0; echo $?'), /^fdpasser: ENOENT: .*listener running.*\n1\n$/);
  assert.match(await output('fdpasser send --timeout 0.2 socket -0; echo $?'), /^fdpasser: ENOENT: .*\n1\n$/);
  assert.match(await output('echo > socket; fdpasser send socket -0; echo $?'), /^fdpasser: ECONNREFUSED: .*\n1\n$/);
});

test('send reports a descriptor that the shell did not give, even if Node itself has that number', async () => {
  const numbers = Array.from({ length: amount(18, 7) }, (_, index) => index + 3);
  const told = (await output(numbers.map((fd) => `fdpasser send socket -${fd}`).join('\n') + '; true')).split('\n');
  // Node opens /dev/null too, but it does not matter who opened it.
  const own = numbers.filter((_, index) => !told[index]!.startsWith('fdpasser: ENOENT: '));
  assert.ok(own.length > amount(12, 3), told.join('\n'));
  for (const fd of own)
    assert.ok(told[fd - 3]!.startsWith(`fdpasser: The shell gave no descriptor ${fd}.`), told[fd - 3]);
});

testInFull('of two sends at the same time one reports that it was taken, and the other that it was not', async () => {
  const told = await output(`
    fdpasser recv socket -- cat {} &
    for name in one two; do
      echo $name > $name
      (fdpasser send --timeout 60 socket $name 2>$name.told; echo $? > $name.code) &
    done
    wait; cat one.code two.code one.told two.told`);
  assert.match(told, /^(one\n0\n1|two\n1\n0)\nfdpasser: (The receiver ended|E\w+: )/, told);
});

test('recv passes over a connection that brings no descriptor, or another protocol, and takes from the next', async () => {
  using folder = new Folder();
  const child = folder.start(['recv', folder.at('socket'), '--', 'cat', '{}']);
  const end = ended(child);
  await until(() => listens(folder.at('socket')));
  for (const bytes of ['', 'GET / HTTP/1.1\r\n\r\n']) {
    const client = connectNode(folder.at('socket'));
    client
      .on('error', () => {})
      .resume()
      .end(bytes);
    await once(client, 'close');
  }
  const channel = await FdChannel.connect(folder.at('socket'));
  await channel.send('none');
  await assert.rejects(channel.send('after', [0], { keepOpen: true, confirm: true }));
  channel.destroy();
  writeFileSync(folder.at('file'), 'taken');
  assert.equal((await ended(folder.start(['send', folder.at('socket'), folder.at('file')]))).code, 0);
  const { code, stdout, stderr } = await end;
  assert.deepEqual({ code, stdout }, { code: 0, stdout: 'taken' });
  assert.equal(stderr.match(/^fdpasser: Nothing was taken from a connection\. /gm)?.length, 3, stderr);
});

test('a signal while recv waits removes the path and ends it, and a signal for its program is passed on', async () => {
  using folder = new Folder();
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    const child = folder.start(['recv', folder.at('socket'), '--', 'true']);
    const end = ended(child);
    await until(() => listens(folder.at('socket')));
    child.kill(signal);
    assert.deepEqual(await end, { code: null, signal, stdout: '', stderr: '' });
    assert.ok(!existsSync(folder.at('socket')));
  }
  // It causes the signal as soon as it runs.
  const script = 'trap "echo told; exit 5" USR2; kill -USR2 $PPID; while :; do sleep 0.05; done';
  const end = ended(folder.start(['recv', folder.at('socket'), '--', 'sh', '-c', script]));
  assert.equal((await ended(folder.start(['send', '--timeout', '60', folder.at('socket'), '-0']))).code, 0);
  const { code, stdout } = await end;
  assert.deepEqual({ code, stdout }, { code: 5, stdout: 'told\n' });
});

test(
  'another user cannot send',
  async () => {
    needs('setpriv');
    assert.match(
      await output(`
        chmod 755 .; echo > file
        fdpasser recv socket -- true & p=$!
        while [ ! -S socket ]; do sleep 0.05; done
        setpriv --reuid 65534 --clear-groups fdpasser send socket -0 < /dev/null; echo $?
        chmod 777 socket; setpriv --reuid 65534 --clear-groups fdpasser send socket -0 < /dev/null; echo $?
        fdpasser send socket file && wait $p && echo taken`),
      /^fdpasser: EACCES: .*\n1\nfdpasser: (The receiver ended|E\w+: ).*\n1\ntaken\n$/,
    );
  },
  process.getuid?.() === 0 ? false : 'only root can be another user',
);

testInFull('send does not wait for the writer of a fifo, and whoever gets it waits for what comes', async () => {
  using folder = new Folder();
  const { stdout } = await folder.shell(`
    mkfifo fifo
    fdpasser send --timeout 0.1 nobody fifo; echo "ended with $?"
    exec 9<>fifo
    fdpasser recv socket -- sh -c 'read line <&3; echo "read $line"' &
    fdpasser send --timeout 10 socket fifo; echo something >&9; wait`);
  assert.match(stdout, /^fdpasser: ENOENT.*\nended with 1\nread something\n$/);
});
