#!/usr/bin/env node
/** The command, in a clone: what `npx fdpasser` runs where the package is installed. */
await import('../dist/bundle/cli.js');
