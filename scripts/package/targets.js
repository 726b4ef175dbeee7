/**
 * The systems that the package brings a core for: their names are those that src/native/load.ts looks for. For each
 * what zig calls it, the oldest system that must load the core, and the system's libraries that it may need.
 */
const glibc = { system: '2.17', libraries: ['libc.so.6', 'libpthread.so.0', 'libdl.so.2'] };
// The flags are for its CMSG_NXTHDR and recvmmsg.
const musl = { libraries: ['libc.so'], flags: ['-Wno-sign-compare', '-Wno-sign-conversion'] };
const macos = { libraries: ['/usr/lib/libSystem.B.dylib'] };
const freebsd = { system: '14.0', libraries: ['libc.so.7', 'libthr.so.3'] };

export const targets = {
  'linux-x64-glibc': { zig: 'x86_64-linux-gnu', ...glibc },
  'linux-arm64-glibc': { zig: 'aarch64-linux-gnu', ...glibc },
  'linux-x64-musl': { zig: 'x86_64-linux-musl', ...musl },
  'linux-arm64-musl': { zig: 'aarch64-linux-musl', ...musl },
  // What Node 20 needs.
  'darwin-x64': { zig: 'x86_64-macos', system: '10.15', ...macos },
  'darwin-arm64': { zig: 'aarch64-macos', system: '11.0', ...macos },
  'freebsd-x64': { zig: 'x86_64-freebsd', ...freebsd },
};
