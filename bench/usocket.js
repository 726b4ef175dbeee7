import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('usocket/', import.meta.url));
export const USOCKET = `${folder}node_modules/usocket/build/Release/uwrap.node`;

/**
 * Installs usocket, which compiles it, unless it is installed. If that fails, its row says that it is not installed.
 */
export function installUsocket(progress) {
  if (existsSync(USOCKET)) return;
  progress('installing usocket');
  const { status, stderr } = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: folder, encoding: 'utf8' });
  if (status !== 0 || !existsSync(USOCKET)) progress(`usocket does not install: ${stderr}`);
}
