/**
 * Makes one file of each entry point in `dist/bundle/`, which loads faster than one file for each source. Code that
 * entry points share is in separate files, so that a program that imports several has one OwnedFd.
 */
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const outdir = join(root, 'dist/bundle');

/** The entry points of the package, and what each is made of. */
const PUBLIC = {
  index: 'dist/index.js',
  systemd: 'dist/systemd/index.js',
  workers: 'dist/workers/index.js',
  takeover: 'dist/takeover/index.js',
};

rmSync(outdir, { recursive: true, force: true });
buildSync({
  absWorkingDir: root,
  entryPoints: { ...PUBLIC, cli: 'dist/cli/cli.js', 'takeover-register': 'dist/takeover/register.js' },
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

/*
 * Node and Bun can require an ES module, and do. Tools that cannot (Jest, or TypeScript under `module: node16`) get one
 * file for all entry points, so that they share one OwnedFd here too. They get the same types in the form of a CommonJS
 * package.
 */
const commonjs = join(root, 'dist/commonjs');
rmSync(commonjs, { recursive: true, force: true });
buildSync({
  absWorkingDir: root,
  stdin: {
    contents: Object.entries(PUBLIC)
      .map(([name, file]) => `export * as ${name} from './${file}';`)
      .join('\n'),
    resolveDir: root,
  },
  outfile: 'dist/commonjs/all.js',
  bundle: true,
  minifyWhitespace: true, // the package contains this code twice
  minifySyntax: true,
  format: 'cjs',
  banner: { js: "const commonjsFile = require('node:url').pathToFileURL(__filename).href;" },
  define: { 'import.meta.url': 'commonjsFile' },
  platform: 'node',
  target: 'node20.19',
  logLevel: 'warning',
});
writeFileSync(join(commonjs, 'package.json'), '{ "type": "commonjs" }\n');
for (const file of readdirSync(join(root, 'dist'), { encoding: 'utf8', recursive: true }))
  if (file.endsWith('.d.ts') && !/^(?:cli|commonjs)\b/.test(file))
    copyTypes(join(root, 'dist', file), join(commonjs, file));
for (const [name, file] of Object.entries(PUBLIC)) {
  const to = join(commonjs, file.slice('dist/'.length));
  writeFileSync(to, `module.exports = require('./${relative(dirname(to), join(commonjs, 'all.js'))}').${name};\n`);
}

/** Leaves out the comments, which are most of the size: editors show those of the other copy. */
function copyTypes(from, to) {
  mkdirSync(dirname(to), { recursive: true });
  writeFileSync(to, readFileSync(from, 'utf8').replaceAll(/^ *\/\*\*.*?\*\/\n/gms, ''));
}
