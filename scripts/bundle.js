/**
 * Makes one file of each entry point in `dist/bundle/`, which loads faster than a file for each source. What entry
 * points share is in files of its own, so that a program that imports several has one OwnedFd.
 */
import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const outdir = join(root, 'dist/bundle');

rmSync(outdir, { recursive: true, force: true });
buildSync({
  absWorkingDir: root,
  entryPoints: {
    index: 'dist/index.js',
    systemd: 'dist/systemd/index.js',
    workers: 'dist/workers/index.js',
    takeover: 'dist/takeover/index.js',
    cli: 'dist/cli/cli.js',
  },
  outdir,
  bundle: true,
  external: ['node-api-headers'], // `fdpasser build` in a clone finds headers there
  splitting: true,
  chunkNames: 'shared-[hash]',
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  logLevel: 'warning',
});
