/**
 * Makes one file of each entry point in `dist/bundle/`, which loads faster than one file for each source. Code that
 * entry points share is in separate files, so that a program that imports several has one OwnedFd.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, buildSync, transformSync } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const outdir = join(root, 'dist/bundle');

/** The entry points of the package, and what each is made of. */
const PUBLIC = {
  index: 'dist/index.js',
  systemd: 'dist/systemd/index.js',
  workers: 'dist/workers/index.js',
  takeover: 'dist/takeover/index.js',
};
/** What `node --import` loads. */
const REGISTERS = {
  'takeover-register': 'dist/takeover/register.js',
  'workers-register': 'dist/workers/register.js',
};

/**
 * Makes whatever uses a part of the package import all of it. Otherwise the code would be split by who uses what, and
 * a program would load six files instead of two. `fdpasser build` stays alone: it works where the core does not load.
 */
const whole = {
  name: 'whole',
  setup({ onLoad }) {
    const index = JSON.stringify(join(root, PUBLIC.index));
    const users =
      /\/dist\/((systemd|takeover|workers)\/(index|register)|cli\/commands\/(exec|inspect|recv|reload|send))\.js$/;
    onLoad({ filter: users }, ({ path }) => ({ contents: `import ${index};\n${readFileSync(path, 'utf8')}` }));
  },
};

rmSync(outdir, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  plugins: [whole],
  entryPoints: {
    ...PUBLIC,
    cli: 'dist/cli/cli.js',
    ...REGISTERS,
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
for (const name of readdirSync(outdir)) {
  const file = join(outdir, name);
  writeFileSync(file, withoutComments(readFileSync(file, 'utf8')));
}

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
for (const [name, file] of Object.entries(PUBLIC)) {
  const to = join(commonjs, file.slice('dist/'.length));
  write(to, `module.exports = require('./${relative(dirname(to), join(commonjs, 'all.js'))}').${name};\n`);
}

/*
 * Copies the declarations that the entry points need, because nobody can import the others. The copies for CommonJS
 * have no comments, which are most of the size: editors show those of the other copies.
 */
const types = join(root, 'dist/types');
rmSync(types, { recursive: true, force: true });
for (const file of declarationsOf(Object.values({ ...PUBLIC, ...REGISTERS }))) {
  const text = readFileSync(join(root, 'dist', file), 'utf8');
  write(join(types, file), text);
  write(join(commonjs, file), text.replaceAll(/^ *\/\*\*.*?\*\/\n/gms, ''));
}

/** The same code in lines that a stack trace can name. esbuild drops comments only with the white space. */
function withoutComments(code) {
  return transformSync(transformSync(code, { minifyWhitespace: true }).code).code;
}

/** The declaration files of these modules, and of all that they import, as paths in `dist/`. */
function declarationsOf(modules) {
  const found = new Set(modules.map((file) => file.slice('dist/'.length).replace(/\.js$/, '.d.ts')));
  for (const file of found)
    for (const [, from] of readFileSync(join(root, 'dist', file), 'utf8').matchAll(/['"](\.[^'"]*)\.js['"]/g))
      found.add(`${join(dirname(file), from)}.d.ts`);
  return found;
}

function write(file, text) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}
