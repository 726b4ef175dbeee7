/** Compares the reference in docs/ with the declarations that the package ships. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from '../support/test.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const read = (name: string): string => readFileSync(`${root}/${name}`, 'utf8');

/** The pages where what the package exports is described. */
const PAGES = ['api', 'channel', 'stream', 'node-objects'].map((name) => read(`docs/${name}.md`)).join('\n');

/** The name of an instance in examples and headings. */
const INSTANCES: Record<string, string[]> = {
  passer: ['FdPasser'],
  channel: ['FdChannel'],
  message: ['Message'],
  stream: ['FdStream'],
  owned: ['OwnedFd'],
  server: ['FdServer', 'TcpServer'],
  connection: ['TcpConnection'],
};

interface Member {
  name: string;
  /** For a method, the names of its parameters. */
  parameters: string[] | undefined;
}

interface Declaration {
  name: string;
  members: Member[];
  parameters: string[][];
}

/** The names in a list of parameters and what follows it, without the parameters of callbacks. */
function parameterNames(text: string): string[] {
  const list = text.replaceAll(/\([^()]*\) =>/g, '=>').replace(/\).*$/, '');
  return [...list.matchAll(/(?:^|, )(?:\.\.\.)?(\w+)\??: /g)].map((match) => match[1]!);
}

/** The exports of `src/index.ts`, as the compiler declares them. */
function declarations(): Declaration[] {
  const exports = [...read('src/index.ts').matchAll(/export (?:type )?\{([^}]*)\} from '\.\/([^']*)\.js'/g)];
  return exports.flatMap(([, names, file]) => {
    const text = read(`dist/${file}.d.ts`)
      .replaceAll(/\/\*\*.*?\*\//gs, '')
      .replaceAll(/\{\n {8}[^{}]*\n {4}\}/g, 'object'); // a type within a list of parameters
    return names!
      .split(',')
      .map((name) => name.replace('type ', '').trim())
      .filter((name) => name !== '')
      .map((name) => ({ name, ...declared(text, name) }));
  });
}

function declared(text: string, name: string): { members: Member[]; parameters: string[][] } {
  const body = new RegExp(`^export (?:declare (?:abstract )?class|interface) ${name}\\b.*?\\{\\n(.*?)^\\}`, 'ms').exec(
    text,
  );
  const lines = (body?.[1] ?? '').split('\n');
  const members = lines.flatMap((line) => {
    const match = /^ {4}(?:(?:static|readonly|get|set|async) )*([a-z]\w*)\??(?:<[^(]*>)?([(:])(.*)$/.exec(line);
    if (match === null || match[1] === 'constructor') return [];
    return [{ name: match[1]!, parameters: match[2] === '(' ? parameterNames(match[3]!) : undefined }];
  });
  const calls = [...text.matchAll(new RegExp(`^export declare function ${name}(?:<[^(]*>)?\\((.*)$`, 'gm'))];
  return { members, parameters: calls.map((match) => parameterNames(match[1]!)) };
}

const ALL = declarations();

test('docs/api.md has every name that the package exports', () => {
  assert.ok(ALL.length > 30);
  const api = read('docs/api.md');
  const missing = ALL.filter(({ name }) => !new RegExp(`^#+ .*\\b${name}\\b|\`${name}\``, 'm').test(api));
  assert.deepEqual(
    missing.map(({ name }) => name),
    [],
  );
});

test('the documents have every method and option of what the package exports', () => {
  const missing = ALL.flatMap(({ name, members }) =>
    members
      .filter(
        (member) => !new RegExp(`[\`.'_{ ]${member.name}\\b[^\`\\n]*\`|^#+ .*\\b${member.name}\\b`, 'm').test(PAGES),
      )
      .map((member) => `${name}.${member.name}`),
  );
  assert.deepEqual(missing, []);
});

test('the headings of docs/api.md name what exists, with the arguments that it takes', () => {
  const wrong: string[] = [];
  let found = 0;
  const headings = [...read('docs/api.md').matchAll(/^#{2,3} (.*)$/gm)].flatMap(({ 1: text }) =>
    text!.split(/, (?=\w+[.(])/),
  );
  for (const heading of headings) {
    const match = /^(?:(\w+)\.)?(\w+)(?:\((.*)\))?$/.exec(heading);
    if (match === null) continue;
    const [, of, name, list] = match as unknown as [string, string | undefined, string, string | undefined];
    found++;
    const given = list
      ?.replaceAll(/[[\]]/g, '')
      .split(/, ?/)
      .filter((one) => one !== '');
    const classes = of === undefined ? [name] : (INSTANCES[of] ?? [of]);
    const known = ALL.filter((one) => classes.includes(one.name)).flatMap(({ members, parameters }) =>
      of === undefined
        ? parameters
        : members.filter((member) => member.name === name).map((member) => member.parameters ?? []),
    );
    const fits = known.some(
      (parameters) => given === undefined || given.length === 0 || parameters.join() === given.join(),
    );
    if (!fits)
      wrong.push(`${heading}: ${known.length === 0 ? 'does not exist' : known.map((one) => one.join()).join(' or ')}`);
  }
  assert.ok(found > 25);
  assert.deepEqual(wrong, []);
});
