/** What `cold.js` is compared with: it does nothing that takes time. */
process.exitCode = 0;
