/**
 * Boots Debian's kernels in qemu (scripts/kernels/targets.js) and runs the tests there: those of the C core on each,
 * Node's on those of this processor, with this machine's root.
 *
 * node scripts/test-kernels.js [KERNEL ...] [--contract] [--node NAME ...]
 *
 * Give --node for each NAME, such as "order". Without --contract and --node both kinds run; of Node's tests only some
 * that do not take long. The processor is emulated without hardware support, so it is about twenty times slower.
 *
 * Needs Debian's packages named below, and downloads 100 to 200 MB for each kernel into build/kernels.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { compileTests, root } from './compile-tests.js';
import { INTERFACES } from './contract-interfaces.js';
import { boot } from './kernels/boot.js';
import { fetchKernel } from './kernels/packages.js';
import { targets } from './kernels/targets.js';

const REAL = INTERFACES.filter(({ emulator }) => !emulator);
const PACKAGES =
  'qemu-system-x86 qemu-system-misc debian-archive-keyring cpio xz-utils gcc-s390x-linux-gnu libc6-dev-s390x-cross';
const NODE_TESTS =
  'order two-ways queues nesting nonblocking full-room bounds endpoints servers channel stream handoff';
/** For one boot. Only a hang takes this long. */
const LIMIT = 3600_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { contract: { type: 'boolean' }, node: { type: 'string', multiple: true } },
});
const unknown = positionals.find((name) => !(name in targets));
if (unknown !== undefined) throw new Error(`no kernel '${unknown}'; there are ${Object.keys(targets).join(', ')}`);
const both = !values.contract && !values.node;

try {
  execFileSync('dpkg', ['-s', ...PACKAGES.split(' ')], { stdio: 'ignore' });
} catch {
  throw new Error(`this needs packages of Debian: apt-get install --no-install-recommends ${PACKAGES}`);
}

/** The tests of the C core for a processor: a file of each interface. */
function compileContract(arch) {
  const env = { ...process.env, ...(arch === 'amd64' ? {} : { CC: `${arch}-linux-gnu-gcc` }) };
  execFileSync(process.execPath, [join(root, 'scripts/test-contract.js'), '--compile'], { env, stdio: 'ignore' });
  return REAL.map(({ name }) => ({
    from: join(root, `build/contract/${name}/contract`),
    to: `contract-${name}`,
  }));
}

const contractCommand = REAL.map(
  ({ name }) => `echo "== contract ${name}"; FDPASSER_RACE=20 /contract-${name}; echo "== exit $?"`,
).join('\n');

function nodeCommand(names) {
  return `cd ${root}
    ulimit -n 4096
    echo "== node"
    { ${process.execPath} scripts/test.js --compiled ${names}; echo "== exit $?"; } 2>&1 | cat`;
}

/** Counts the results in the TAP of one run. */
function count(output) {
  const lines = [...output.matchAll(/^(not )?ok \d+ - (.*)$/gm)];
  return {
    passed: lines.filter(([, not]) => !not).length,
    failed: lines.filter(([, not]) => not).map(([, , title]) => title),
  };
}

const rows = {};
for (const name of positionals.length > 0 ? positionals : Object.keys(targets)) {
  const { arch } = targets[name];
  const folder = join(root, 'build/kernels', name);
  mkdirSync(folder, { recursive: true });
  const machine = { arch, folder, limit: LIMIT, ...fetchKernel(targets[name], folder) };
  const runs = [];
  if (both || values.contract) runs.push({ what: 'contract', files: compileContract(arch), command: contractCommand });
  if ((both || values.node) && arch === 'amd64') {
    const names = values.node?.join(' ') || NODE_TESTS;
    compileTests();
    runs.push({ what: 'node', root: '/', command: nodeCommand(names) });
  }
  for (const { what, ...run } of runs) {
    const began = Date.now();
    const { output, ended } = await boot({ ...machine, ...run, log: join(folder, `${what}.log`) });
    const { passed, failed } = count(output);
    const exits = [...output.matchAll(/^== exit (\d+)$/gm)].map(([, status]) => Number(status));
    const well =
      ended && passed > 0 && failed.length === 0 && exits.length > 0 && exits.every((status) => status === 0);
    if (!well) process.exitCode = 1;
    const version = /== kernel (.*)$/m.exec(output)?.[1] ?? 'did not boot';
    rows[`${name} ${what}`] = {
      kernel: version,
      passed,
      failed: failed.length,
      ended: well ? 'well' : ended ? 'badly' : 'no',
      seconds: Math.round((Date.now() - began) / 1000),
    };
    for (const title of failed) console.log(`${name} ${what}: not ok - ${title}`);
  }
}
console.table(rows);
