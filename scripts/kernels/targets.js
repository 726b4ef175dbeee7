/**
 * The kernels that scripts/test-kernels.js boots: Debian's, of these suites. `libraries` names the cross compiler's prefix
 * where the processor is not this machine's; Node's tests run only where it is.
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
