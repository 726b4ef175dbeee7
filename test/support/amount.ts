/** How much a test that takes long does: `all` with `CI` set, `part` at other times, when somebody waits for it. */
export function amount(all: number, part: number): number {
  return process.env['CI'] === undefined ? part : all;
}
