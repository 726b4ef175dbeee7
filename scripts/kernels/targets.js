/**
 * The kernels that scripts/test-kernels.js boots: the newest of Debian's in these suites. `arch` is Debian's name of
 * the processor. Node's tests run only on kernels for this machine's processor.
 */
const debian = 'http://deb.debian.org/debian';
const security = 'http://deb.debian.org/debian-security';

export const targets = {
  '5.10': { arch: 'amd64', sources: [`${debian} bullseye main`, `${security} bullseye-security main`] },
  6.1: { arch: 'amd64', sources: [`${debian} bookworm main`] },
  6.12: { arch: 'amd64', sources: [`${debian} trixie main`] },
  newest: { arch: 'amd64', sources: [`${debian} sid main`] },
  s390x: { arch: 's390x', sources: [`${debian} sid main`] },
};
