import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, existsSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join, relative } from 'node:path';
import { amount } from '../support/amount.js';
import { freePort } from '../support/connection.js';
import { Crowd } from '../support/crowd.js';
import { inFolder, openDescriptors, until } from '../support/descriptors.js';
import { checkMoved, childFile, SupervisorProcess, unmodified } from '../support/supervising.js';
import { ask, askAsNobody, cannotBeNobody, onSite } from '../support/takeover.js';
import { test, testInFull } from '../support/test.js';
import type { Supervising } from './children/supervising.js';

const TAKEOVERS = amount(4, 1);
const KEEP_ALIVE = amount(16, 4);
const WEB_SOCKETS = amount(10, 3);

testInFull(
  'clients notice nothing when a supervisor is replaced, its workers with an unmodified program included',
  () =>
    inFolder(async (folder) => {
      const where = { host: '127.0.0.1', port: await freePort() };
      const plan = unmodified('express.mjs', where);
      plan.options.takeover = { path: join(folder, 'control'), probation: 200 };
      let old = new SupervisorProcess(plan);
      await old.ready(2);
      const crowd = new Crowd({ where, keepAlive: KEEP_ALIVE, webSockets: WEB_SOCKETS, bodies: true });
      const stdouts: string[] = [];
      try {
        await crowd.begins();
        for (let i = 0; i < TAKEOVERS; i++) {
          const heir = new SupervisorProcess(plan);
          await until(() => old.events('replaced').length > 0 || heir.events('error').length > 0);
          assert.deepEqual(heir.events('error'), []);
          const { code, stdout, stderr } = await old.end;
          assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
          stdouts.push(stdout);
          old = heir;
          await crowd.goesOn();
        }
      } finally {
        await crowd.stop();
        if (stdouts.length < TAKEOVERS) await old[Symbol.asyncDispose]();
      }
      const { errors, asked, connections } = crowd;
      assert.deepEqual({ errors, asked, connections }, { errors: [], asked: 0, connections: KEEP_ALIVE + WEB_SOCKETS });
      for (const stdout of stdouts) checkMoved(stdout, WEB_SOCKETS, crowd);
      const { code, stderr } = await old.close();
      assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    }),
);

for (const register of [false, true])
  test(`a supervisor whose workers do not get ready takes nothing over, and the old one serves on, where ${register ? 'a program' : 'it'} listens`, () =>
    inFolder(async (folder) => {
      const takeover = { path: join(folder, 'control') };
      const where = { port: await freePort(), host: '127.0.0.1' };
      const port = join(folder, 'port');
      writeFileSync(port, `${where.port}`);
      const planOf = (file: string): Supervising => {
        const plan = { file: childFile(`workers/${file}`), options: { register, count: 1, takeover, args: [port] } };
        return register ? plan : { ...plan, listen: where };
      };
      await using old = new SupervisorProcess(planOf(register ? 'port-of-file' : 'serve'));
      await old.ready(1);
      const answer = await ask(where);
      await using heir = new SupervisorProcess(planOf('broken'));
      await until(() => heir.events('error').some(({ message }) => /code 3/.test(message!)));
      assert.equal((await heir.end).code, 0);
      assert.equal(await ask(where), answer);
      assert.equal((await old.close()).code, 0);
    }));

for (const closes of ['old', 'new'] as const)
  test(`a path stays when the ${closes} supervisor closes while the other one serves there`, () =>
    inFolder(async (folder) => {
      const path = join(folder, 'socket');
      const takeover = { path: join(folder, 'control'), probation: 60_000 };
      const planOf = (file: string): Supervising => {
        return { file: childFile(`workers/${file}`), options: { count: 1, takeover }, listen: { path } };
      };
      const inode = (): number => statSync(path).ino;
      await using old = new SupervisorProcess(planOf('serve'));
      await old.ready(1);
      const before = inode();
      await using heir = new SupervisorProcess(planOf(closes === 'old' ? 'serve' : 'never'));
      await until(() => heir.events('listening').length > 0);
      if (closes === 'old') {
        const { pid } = heir.events('worker')[0]!.worker!;
        while (!(await ask({ socketPath: path })).includes(`${pid}`));
      }
      const [closing, serving] = closes === 'old' ? [old, heir] : [heir, old];
      assert.equal((await closing.close()).code, 0);
      assert.equal(inode(), before);
      assert.match(await ask({ socketPath: path }), new RegExp(`\\b${serving.events('worker')[0]!.worker!.pid}\\b`));
      assert.equal((await serving.close()).code, 0);
      assert.equal(existsSync(path), false);
    }));

test('a supervisor is found at its path when the old one has closed before it serves', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'socket');
    const told = join(folder, 'told');
    const options = { count: 1, takeover: join(folder, 'control'), args: [told] };
    const plan = { file: childFile('workers/ready-when-told'), options, listen: { path } };
    await using old = new SupervisorProcess({ ...plan, file: childFile('workers/serve') });
    await old.ready(1);
    await using heir = new SupervisorProcess(plan);
    await until(() => heir.events('listening').length > 0);
    assert.equal((await old.close()).code, 0);
    writeFileSync(told, '');
    await until(() => existsSync(path));
    assert.equal(await ask({ socketPath: path }), 'told');
    assert.equal((await heir.close()).code, 0);
  }));

for (const register of [false, true])
  test(
    `a path lets other users in after a takeover as before, ${register ? 'where a program' : 'where the supervisor'} listens`,
    () =>
      inFolder(async (folder) => {
        chmodSync(folder, 0o755);
        const path = join(folder, 'socket');
        const takeover = { path: join(folder, 'control'), probation: 100 };
        const plan = register
          ? { file: childFile('workers/at-path'), options: { register, count: 1, takeover, args: [path] } }
          : { file: childFile('workers/serve'), options: { count: 1, takeover }, listen: { path } };
        await using old = new SupervisorProcess(plan);
        await old.ready(1);
        const { pid } = old.events('worker')[0]!.worker!;
        assert.match(await askAsNobody(path), new RegExp(`\\b${pid}\\b`));
        await using heir = new SupervisorProcess(plan);
        await until(() => old.events('replaced').length > 0 || heir.events('error').length > 0);
        const { pid: next } = heir.events('worker')[0]!.worker!;
        assert.match(await askAsNobody(path), new RegExp(`\\b${next}\\b`));
        assert.equal((await old.end).code, 0);
        assert.equal((await heir.close()).code, 0);
      }),
    cannotBeNobody,
  );

test('a supervisor that has taken over has each listening socket once', () =>
  inFolder(async (folder) => {
    const listen = { port: await freePort(), host: '127.0.0.1' };
    const options = { count: 1, takeover: { path: join(folder, 'control'), probation: 100 } };
    const plan = { file: childFile('workers/serve'), options, listen };
    await using old = new SupervisorProcess(plan);
    await old.ready(1);
    await using heir = new SupervisorProcess(plan);
    assert.equal((await old.end).code, 0);
    const sockets = [...openDescriptors(heir.child.pid).values()].filter((file) => file.startsWith('socket:'));
    assert.deepEqual(sockets, [...new Set(sockets)]);
    assert.equal((await heir.close()).code, 0);
  }));

test('a path that was given as a relative one is taken over, and removed by the last supervisor', () =>
  inFolder(async (folder) => {
    const socketPath = join(folder, 'socket');
    const takeover = { path: join(folder, 'control'), probation: 100 };
    const listen = { path: relative(process.cwd(), socketPath) };
    const plan = { file: childFile('workers/serve'), options: { count: 1, takeover }, listen };
    await using old = new SupervisorProcess(plan);
    await old.ready(1);
    await using heir = new SupervisorProcess(plan);
    await until(() => old.events('replaced').length > 0 || heir.events('error').length > 0);
    assert.deepEqual(heir.events('error'), []);
    const { pid } = heir.events('worker')[0]!.worker!;
    assert.equal((JSON.parse(await ask({ socketPath })) as { pid: number }).pid, pid);
    assert.equal((await old.end).code, 0);
    assert.deepEqual(
      heir.events('listening').map(({ at }) => at as unknown),
      [listen.path],
    );
    assert.equal((await heir.close()).code, 0);
    assert.ok(!existsSync(socketPath));
  }));

test('a supervisor takes over without workers that it is told not to have while they start', () =>
  inFolder(async (folder) => {
    const listen = { port: await freePort(), host: '127.0.0.1' };
    const takeover = { path: join(folder, 'control'), probation: 100 };
    const plan = { file: childFile('workers/first-only'), options: { count: 1, takeover }, listen };
    await using old = new SupervisorProcess(plan);
    await old.ready(1);
    await using heir = new SupervisorProcess({ ...plan, options: { ...plan.options, count: 2 } });
    await heir.ready(1);
    await until(() => heir.events('listening').length > 0);
    await heir.command({ scale: 1 });
    await until(() => old.events('replaced').length > 0 || heir.events('error').length > 0);
    assert.deepEqual(heir.events('error'), []);
    const ready = heir.events('worker').find(({ worker }) => worker!.state === 'ready')!.worker!;
    assert.equal(await ask(listen), `${ready.pid}`);
    assert.equal((await old.end).code, 0);
    assert.equal((await heir.close()).code, 0);
  }));

const REQUEST = 'GET / HTTP/1.1\r\nHost: here\r\n\r\n';

test('a live connection is served to its end when its supervisor is replaced by a server without workers', () =>
  onSite(async ({ control, port, start }) => {
    const listen = { port, host: '127.0.0.1' };
    const options = { count: 1, takeover: { path: control } };
    await using old = new SupervisorProcess({ file: childFile('workers/serve'), options, listen });
    await old.ready(1);
    const client = connect(port, listen.host).setEncoding('utf8');
    const asks = async (): Promise<string> => {
      client.write(REQUEST);
      const [answer] = (await once(client, 'data')) as [string];
      return answer;
    };
    assert.match(await asks(), /"slot":0/);
    const listeners = [{ name: `tcp:127.0.0.1:${port}`, kind: 'http' as const, options: listen }];
    const heir = start({ listeners, options: { probation: 100 } });
    let answer: string;
    do answer = await asks();
    while (/keep-alive/i.test(answer));
    assert.match(answer, /connection: close[^]*"slot":0/i);
    assert.equal((await old.end).code, 0);
    assert.equal(await ask({ port }), `${heir.pid}`);
    client.destroy();
  }));
