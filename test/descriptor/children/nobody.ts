/** As a user without rights, connects to its first argument and listens on its second; reports how that failed. */
import { connect, listen } from 'fdpasser';

// Loaded while it still has the rights.
await connect('\0nobody listens here').catch(() => {});

if (process.getuid!() === 0) {
  process.setgroups!([]);
  process.setgid!(65534);
  process.setuid!(65534);
}

const [socket, free] = process.argv.slice(2) as [string, string];
const errors: unknown[] = [await connect(socket).catch((error: unknown) => error)];
try {
  listen(free).close();
} catch (error) {
  errors.push(error);
}
process.send!(
  errors.map((error) => {
    const { code, path, syscall, message } = error as NodeJS.ErrnoException;
    return { code, path, syscall, message };
  }),
);
process.disconnect();
