/** Listens on the path argv[2] in a process whose flags restrict it, and prints the outcome. */
import { listen } from 'fdpasser';

try {
  using server = listen(process.argv[2]!);
  console.log('listening', server.fd > 0);
} catch (error) {
  const { code, permission, resource } = error as NodeJS.ErrnoException & Record<string, unknown>;
  console.log(code, permission, resource);
}
