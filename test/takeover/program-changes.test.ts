import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Plain } from '../support/plain.js';
import { ask, onSite, type Site } from '../support/takeover.js';
import { test } from '../support/test.js';

/** Starts programs one after the other, and none outlives the body. */
async function starting(body: (site: Site, start: (text: string, more?: object) => Promise<Plain>) => Promise<void>) {
  await onSite(async (site) => {
    const started: Plain[] = [];
    try {
      await body(site, async (text, more) => {
        const program = new Plain(site, `${started.length}.cjs`, text, more);
        started.push(program);
        await program.listens();
        return program;
      });
    } finally {
      await Promise.all(started.map((program) => program.kill()));
    }
  });
}

const CHANGES_FOLDER = `const http = require('node:http');
const server = http.createServer((request, response) => response.end(String(process.pid)));
server.listen(process.argv[2], '127.0.0.1', () => {
  process.chdir('data');
  console.log('listens');
});
process.on('SIGUSR2', () => server.close());
`;

test('a relative control path is that of the folder in which a program started, whatever its folder is later', () =>
  starting(async ({ folder, port }, start) => {
    mkdirSync(join(folder, 'data'));
    const others = join(folder, 'data/control');
    writeFileSync(others, 'of somebody else');
    const more = { cwd: folder, env: { FDPASSER_TAKEOVER: 'control' } };
    const old = await start(CHANGES_FOLDER, more);
    const heir = await start(CHANGES_FOLDER, more);
    assert.equal((await old.end).code, 0);
    assert.equal(await ask({ port }), heir.pid);
    heir.child.kill('SIGUSR2');
    await heir.end;
    assert.equal(readFileSync(others, 'utf8'), 'of somebody else');
    assert.equal(existsSync(join(folder, 'control')), false);
  }));
