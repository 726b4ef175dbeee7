import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ended } from '../support/child.js';
import { test } from '../support/test.js';

const demo = fileURLToPath(new URL('../../../examples/demo.js', import.meta.url));

test('the demo shows the same file and connection in two processes, and ends by itself', async () => {
  const parent = spawn(process.execPath, [demo], { stdio: ['ignore', 'pipe', 'pipe'] });
  const { code, signal, stdout, stderr } = await ended(parent);
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' }, stdout);

  const found = (pattern: RegExp): string[] => {
    const match = pattern.exec(stdout);
    assert.ok(match, `${pattern} is not in:\n${stdout}`);
    return match.slice(1);
  };
  const pid = parent.pid;
  const [child] = found(/^parent {2}pid \d+: started the child, pid (\d+)$/m);
  const [client] = found(/^client {2}pid (\d+): connected to the parent/m);
  assert.equal(new Set([String(pid), child, client]).size, 3);

  const [path, file] = found(/opened the file (\S+): descriptor \d+, device:inode (\d+:\d+)$/m);
  const [connection] = found(/accepted a connection from port \d+: descriptor \d+, device:inode (\d+:\d+)$/m);
  assert.notEqual(file, connection);
  const ofChild = `child   pid ${child}: received`;
  assert.deepEqual(found(new RegExp(`^${ofChild} the file as descriptor \\d+, device:inode (\\S+), kind file$`, 'm')), [
    file,
  ]);
  assert.deepEqual(
    found(new RegExp(`^${ofChild} the connection as descriptor \\d+, device:inode (\\S+), kind tcp$`, 'm')),
    [connection],
  );

  found(
    new RegExp(`got this answer:\n {2}answered by the child, pid ${child}, which never accepted a connection$`, 'm'),
  );
  const written = [
    '  written by the parent, pid PARENT, before it passed the file',
    '  written by the child, pid CHILD, which never opened the file',
    '  written by the parent, pid PARENT, after the child had ended',
  ];
  const content = written.join('\n').replaceAll('PARENT', String(pid)).replaceAll('CHILD', child!);
  assert.ok(stdout.endsWith(`the file now holds:\n${content}\n`), stdout);
  assert.equal(existsSync(path!), false);
});
