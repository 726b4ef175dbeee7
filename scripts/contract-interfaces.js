/** The interfaces over which the contract is tested. An interface that this system does not have is emulated. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TRANSPORTS } from '../src/cli/transports.js';

const { linux, rights, holding, accrights, streams } = TRANSPORTS;
const emulation = join(dirname(dirname(fileURLToPath(import.meta.url))), 'test', 'contract', 'emulation');

/**
 * `flags` are for all files, with those of the transport; `only` are for the tested files, which see the emulated
 * system.
 */
export const INTERFACES = [
  { name: 'bsd44', title: 'SCM_RIGHTS, peeking first', transport: linux, flags: [] },
  {
    name: 'bsd44-no-offset',
    transport: linux,
    title: 'the same one by one, over an emulation of an emulator without SO_PEEK_OFF',
    flags: [],
    only: ['-include', join(emulation, 'no-offset.h')],
    emulator: join(emulation, 'no-offset.c'),
  },
  {
    name: 'bsd44-gvisor',
    transport: linux,
    title: 'the same, over an emulation of gVisor',
    flags: [],
    only: ['-include', join(emulation, 'gvisor.h')],
    emulator: join(emulation, 'gvisor.c'),
  },
  {
    name: 'bsd44-shared',
    transport: linux,
    title: 'the same, while somebody who shares each socket asks for credentials between a peek and its receive',
    flags: ['-DFDP_SHARED=1'],
    only: ['-include', join(emulation, 'shared.h')],
    emulator: join(emulation, 'shared.c'),
  },
  { name: 'bsd44-no-peek', title: 'SCM_RIGHTS where the system cannot peek', transport: rights, flags: [] },
  {
    name: 'bsd44-hold',
    transport: holding,
    title: 'the same, holding sockets in flight, with modes by the umask',
    flags: ['-DFDP_UMASK=1'],
  },
  {
    name: 'bsd43',
    transport: accrights,
    title: 'msg_accrights, over an emulation',
    flags: [],
    only: ['-include', join(emulation, 'bsd43.h')],
    emulator: join(emulation, 'bsd43.c'),
  },
  {
    name: 'sysv',
    transport: streams,
    title: 'STREAMS, over an emulation',
    flags: [`-I${emulation}`],
    emulator: join(emulation, 'sysv.c'),
  },
];
