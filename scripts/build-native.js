/**
 * Compiles the C core for this system into build/.
 *
 * node scripts/build-native.js with its C compiler ($CC, else cc) node scripts/build-native.js --strict with warnings
 * as errors node scripts/build-native.js --sanitize with AddressSanitizer and UndefinedBehaviorSanitizer
 *
 * src/cli/compile-core.js names the environment variables that it uses.
 */
import { compileHere, warnings } from '../src/cli/compile-core.js';

const asked = new Set(process.argv.slice(2));
const mode = asked.has('--sanitize')
  ? ['-O1', '-g', '-fno-omit-frame-pointer', '-fsanitize=address,undefined', '-fno-sanitize-recover=undefined']
  : ['-O2'];
compileHere([...mode, ...warnings, ...(asked.has('--strict') ? ['-Werror'] : [])]);
