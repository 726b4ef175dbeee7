/** Gets a kernel of Debian, without installing it. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * Downloads the kernel of `target` and a busybox for it into `folder`, and returns their files: the kernel, busybox,
 * and the modules by name, which may be compressed.
 */
export function fetchKernel({ arch, sources }, folder) {
  const apt = setUp(folder, arch, sources);
  apt('apt-get', 'update', '-qq');
  const packages = [...kernelPackages(apt, `linux-image-${arch}`), 'busybox-static'];
  const root = join(folder, 'root');
  rmSync(root, { recursive: true, force: true });
  apt('apt-get', 'download', '-qq', ...packages);
  for (const file of newest(apt, packages)) execFileSync('dpkg-deb', ['-x', join(folder, file), root]);
  const files = readdirSync(root, { recursive: true }).map((file) => join(root, file));
  return {
    kernel: files.find((file) => basename(file).startsWith('vmlinuz')),
    busybox: files.find((file) => file.endsWith('/bin/busybox')),
    modules: new Map(
      files.filter((file) => /\.ko(?:\.xz)?$/.test(file)).map((file) => [basename(file).split('.ko')[0], file]),
    ),
  };
}

/** A function that runs apt's commands with only these sources. */
function setUp(folder, arch, sources) {
  for (const each of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(folder, each), { recursive: true });
  const config = join(folder, 'apt.conf');
  const list = join(folder, 'sources.list');
  writeFileSync(list, sources.map((source) => `deb [signed-by=${KEYRING}] ${source}\n`).join(''));
  writeFileSync(
    config,
    `Dir::Etc::sourcelist "${list}";
     Dir::Etc::sourceparts "-";
     Dir::State::lists "${folder}/lists";
     Dir::State::status "/dev/null";
     Dir::Cache "${folder}/cache";
     APT::Architecture "${arch}";
     APT::Architectures { "${arch}"; };
     APT::Sandbox::User "root";\n`,
  );
  const env = { ...process.env, APT_CONFIG: config };
  return (...[command, ...args]) =>
    execFileSync(command, args, { cwd: folder, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

/** The packages that contain the kernel and its modules; since Linux 7 there are several. */
function kernelPackages(apt, from) {
  const found = new Set();
  const look = (name) => {
    const shown = apt('apt-cache', 'show', '--no-all-versions', name);
    for (const [other] of (/^Depends: (.*)$/m.exec(shown)?.[1] ?? '').matchAll(
      /linux-(?:image|binary|modules)-[^\s,]+/g,
    ))
      if (!found.has(other)) {
        found.add(other);
        look(other);
      }
  };
  look(from);
  return found;
}

/** The files of the packages, and not of older ones that were downloaded before. */
function newest(apt, packages) {
  return [...packages].map((name) => {
    const shown = apt('apt-cache', 'show', '--no-all-versions', name);
    const [version, arch] = ['Version', 'Architecture'].map(
      (field) => new RegExp(`^${field}: (.*)$`, 'm').exec(shown)[1],
    );
    return `${name}_${version.replace(':', '%3a')}_${arch}.deb`;
  });
}

/** A module's content, decompressed. */
export function readModule(file) {
  return file.endsWith('.xz') ? execFileSync('xz', ['-dc', file], { maxBuffer: 1 << 28 }) : readFileSync(file);
}

/** The named modules, each after those that it needs. Modules that are built into the kernel are left out. */
export function* inOrder(modules, names, done = new Set()) {
  for (const name of names) {
    const file = modules.get(name) ?? modules.get(name.replaceAll('_', '-'));
    if (done.has(name) || file === undefined || !existsSync(file)) continue;
    done.add(name);
    const bytes = readModule(file);
    const [, needs] = /\0depends=([^\0]*)\0/.exec(bytes.toString('latin1')) ?? [];
    yield* inOrder(modules, needs?.split(',').filter(Boolean) ?? [], done);
    yield { name, bytes };
  }
}
