/** Boots a kernel in qemu, without the help of this machine's processor, and runs a command there. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  cpSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { inOrder } from './packages.js';

/** With this machine's root: read-only, under a layer in memory that takes all writes. */
const WITH_ROOT = `
mkdir /host /over
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,ro,cache=loose host /host
mount -t tmpfs tmpfs /over
mkdir /over/upper /over/work
mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work overlay /root
for each in proc sysfs devtmpfs; do mount -t $each $each /root/$(echo $each | sed 's/fs$//; s/tmp$//'); done
mkdir -p /root/dev/pts /root/dev/shm
ln -s /proc/self/fd /root/dev/fd
mount -t devpts devpts /root/dev/pts
for each in dev/shm tmp run; do mount -t tmpfs tmpfs /root/$each; done
cp /command /root/run/command
chroot /root /bin/sh /run/command
`;

const ALONE = `
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
ln -s /proc/self/fd /dev/fd
mount -t devpts devpts /dev/pts
for each in /dev/shm /tmp; do mount -t tmpfs tmpfs $each; done
sh /command
`;

const init = (rest) => `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /root /tmp /usr/bin /sbin /usr/sbin
/bin/busybox --install -s
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
for each in /modules/*; do [ -e $each ] && insmod $each; done
ip link set lo up
echo "== kernel $(uname -r) $(uname -m)"
${rest}
echo "== end"
poweroff -f
`;

const MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'overlay'];

const machines = {
  amd64: ['qemu-system-x86_64', '-cpu', 'max', '-append', 'console=ttyS0 quiet loglevel=1 panic=-1'],
  s390x: ['qemu-system-s390x', '-cpu', 'max', '-append', 'quiet loglevel=1 panic=-1'],
};

/**
 * Runs a shell script in the kernel, with `files` in `/` or, when `root` is given, with that folder as the root.
 * Returns its output, which is also in the file `log`, and whether it ended within `limit` milliseconds.
 */
export async function boot({ arch, kernel, busybox, modules, files = [], root, command, limit, folder, log }) {
  const image = join(folder, 'initramfs');
  rmSync(image, { recursive: true, force: true });
  mkdirSync(join(image, 'bin'), { recursive: true });
  mkdirSync(join(image, 'modules'));
  cpSync(busybox, join(image, 'bin/busybox'));
  for (const file of files) cpSync(file.from, join(image, file.to));
  if (root) {
    let number = 100;
    for (const { name, bytes } of inOrder(modules, MODULES))
      writeFileSync(join(image, `modules/${number++}-${name}`), bytes);
  }
  writeFileSync(join(image, 'command'), command);
  writeFileSync(join(image, 'init'), init(root ? WITH_ROOT : ALONE));
  chmodSync(join(image, 'init'), 0o755);
  const names = readdirSync(image, { recursive: true }).join('\n');
  const archive = execFileSync('cpio', ['-o', '-H', 'newc', '--quiet'], {
    cwd: image,
    input: names,
    maxBuffer: 1 << 28,
  });
  writeFileSync(`${image}.gz`, gzipSync(archive, { level: 1 }));

  const share = `local,path=${root},mount_tag=host,security_model=none,readonly=on,multidevs=remap`;
  const [qemu, ...given] = machines[arch];
  const args = ['-kernel', kernel, '-initrd', `${image}.gz`, '-nographic', '-no-reboot', '-m', '3G', '-smp', '2'];
  const file = openSync(log, 'w');
  const child = spawn(qemu, [...given, ...args, ...(root ? ['-virtfs', share] : [])], {
    stdio: ['ignore', file, 'inherit'],
    timeout: limit,
    killSignal: 'SIGKILL',
  });
  closeSync(file);
  await once(child, 'close');
  const output = readFileSync(log, 'latin1').replaceAll('\r', '');
  return { output, ended: output.includes('\n== end\n') };
}
