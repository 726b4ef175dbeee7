/**
 * What a compiled library needs of the system that loads it, read from the file itself: 64-bit little-endian ELF and
 * Mach-O, as far as the cores go (elf(5); Apple's mach-o/loader.h and mach-o/nlist.h).
 *
 * Both give { processor, libraries, imports: [{ name, from }], exports }. `from` is the version of an ELF symbol, or
 * the library of a Mach-O symbol, or undefined where whoever loads the library must have it. ELF adds `stays`, Mach-O
 * `system` and `signed`.
 */
import { readFileSync } from 'node:fs';

export function needs(file) {
  const bytes = readFileSync(file);
  const magic = bytes.readUInt32BE(0);
  if (magic === 0x7f454c46) return elf(bytes);
  if (magic === 0xcffaedfe) return machO(bytes);
  throw new Error(`${file} is neither ELF nor Mach-O`);
}

function text(bytes, offset) {
  return bytes.toString('latin1', offset, bytes.indexOf(0, offset));
}

function elf(bytes) {
  const long = (offset) => Number(bytes.readBigUInt64LE(offset));
  const sections = Array.from({ length: bytes.readUInt16LE(60) }, (_, i) => {
    const header = long(40) + i * bytes.readUInt16LE(58);
    return {
      type: bytes.readUInt32LE(header + 4),
      offset: long(header + 24),
      size: long(header + 32),
      link: bytes.readUInt32LE(header + 40),
      count: bytes.readUInt32LE(header + 44),
    };
  });
  const section = (type) => sections.find((one) => one.type === type);
  const dynamic = section(6);
  const symbols = section(11);
  const name = (offset) => text(bytes, sections[symbols.link].offset + offset);

  const tags = Array.from({ length: dynamic.size / 16 }, (_, i) => ({
    tag: long(dynamic.offset + i * 16),
    value: long(dynamic.offset + i * 16 + 8),
  }));
  const versions = elfVersions(bytes, section(0x6ffffffe), name);
  const versionOf = section(0x6fffffff);
  const all = Array.from({ length: symbols.size / 24 }, (_, i) => {
    const symbol = symbols.offset + i * 24;
    return {
      name: name(bytes.readUInt32LE(symbol)),
      defined: bytes.readUInt16LE(symbol + 6) !== 0,
      from: versionOf && versions.get(bytes.readUInt16LE(versionOf.offset + i * 2) & 0x7fff),
    };
  }).slice(1); // the first is none
  return {
    processor: { 62: 'x64', 183: 'arm64' }[bytes.readUInt16LE(18)],
    libraries: tags.filter(({ tag }) => tag === 1).map(({ value }) => name(value)),
    imports: all.filter(({ defined }) => !defined).map(({ name, from }) => ({ name, from })),
    exports: all.filter(({ defined }) => defined).map(({ name }) => name),
    stays: tags.some(({ tag, value }) => tag === 0x6ffffffb && value & 8),
  };
}

/** The versions that are needed, by the index that symbols give. */
function elfVersions(bytes, section, name) {
  const versions = new Map();
  let library = section?.offset;
  for (let i = 0; i < (section?.count ?? 0); i++) {
    let version = library + bytes.readUInt32LE(library + 8);
    for (let k = 0; k < bytes.readUInt16LE(library + 2); k++) {
      versions.set(bytes.readUInt16LE(version + 6), name(bytes.readUInt32LE(version + 8)));
      version += bytes.readUInt32LE(version + 12);
    }
    library += bytes.readUInt32LE(library + 12);
  }
  return versions;
}

function machO(bytes) {
  const libraries = [];
  const found = { imports: [], exports: [], system: undefined, signed: false };
  let command = 32;
  for (let i = 0; i < bytes.readUInt32LE(16); i++) {
    const type = bytes.readUInt32LE(command);
    if (type === 0xc) libraries.push(text(bytes, command + bytes.readUInt32LE(command + 8)));
    if (type === 0x32) found.system = version(bytes.readUInt32LE(command + 12));
    if (type === 0x1d) found.signed = true;
    if (type === 0x2) machOSymbols(bytes, command, found);
    command += bytes.readUInt32LE(command + 4);
  }
  for (const symbol of found.imports) symbol.from = libraries[symbol.from - 1];
  return { processor: { 0x1000007: 'x64', 0x100000c: 'arm64' }[bytes.readUInt32LE(4)], libraries, ...found };
}

function version(packed) {
  return `${packed >> 16}.${(packed >> 8) & 0xff}`;
}

function machOSymbols(bytes, command, { imports, exports }) {
  const [symbols, count, names] = [8, 12, 16].map((offset) => bytes.readUInt32LE(command + offset));
  for (let i = 0; i < count; i++) {
    const symbol = symbols + i * 16;
    const type = bytes[symbol + 4];
    if ((type & 0x11) !== 1) continue; // seen in this file alone
    const name = text(bytes, names + bytes.readUInt32LE(symbol)).slice(1); // C's names begin with _ there
    if (type & 0xe) exports.push(name);
    else imports.push({ name, from: bytes[symbol + 7] });
  }
}
