/** Reads a `%%remote` cell, and adds or removes the magic. Depends on text only. */

/** The magic as this extension writes it. */
export const MAGIC = '%%remote';

const FIRST_LINE = /^\s*%%(?:remote|nbfn)(?![\w.])[ \t]*(.*)$/;
const LOCAL_LINE = /^%local[ \t]*(?:#.*)?$/gm;
const DEFINITION =
  /^(?:async[ \t]+)?(?:def|class)[ \t]+([\p{L}_][\p{L}\p{N}_]*)/gmu;

/** Options of the magic that take no value. */
const FLAGS = new Set([
  '--take-over',
  '--no-run',
  '--bg',
  '--quiet',
  '--local',
  '--dry-run'
]);

export interface IRemoteCell {
  /** The App that its line names; null for the default. */
  app: string | null;
  /** Names of the Functions and classes that it registers. */
  names: string[];
  /** The text below the line of the magic. */
  body: string;
}

/** Parse the source of a cell; null if it is not a remote cell. */
export function parseRemoteCell(source: string): IRemoteCell | null {
  const text = source.replace(/^(?:[ \t]*\n)+/, '');
  const end = text.indexOf('\n');
  const line = FIRST_LINE.exec(end < 0 ? text : text.slice(0, end));
  if (!line) {
    return null;
  }
  const body = end < 0 ? '' : text.slice(end + 1);
  const { app, name, runsHere } = parseLine(line[1]);
  if (runsHere) {
    return { app, names: [], body };
  }
  const defined = definedNames(remotePart(body));
  const isRenamed = name !== null && defined.length <= 1;
  return { app, names: isRenamed ? [name] : defined, body };
}

/**
 * Whether the body of a cell has the code that was registered.
 *
 * Registered source begins with a line for the magic and ends before a `%local` line. Where a `%local` in a string is
 * not such a line, so each is tried.
 */
export function hasRegisteredCode(body: string, registered: string): boolean {
  const code = registered.replace(/^\s*%%[^\n]*(?:\n|$)/, '').trimEnd();
  const ends = [...body.matchAll(LOCAL_LINE)].map(found => found.index);
  return [...ends, body.length].some(
    end => body.slice(0, end).trimEnd() === code
  );
}

/** Add the magic to the source of a cell, or remove it. */
export function toggleMagic(source: string, app: string): string {
  const cell = parseRemoteCell(source);
  return cell ? cell.body : addMagic(source, app);
}

/** Add the magic to the source of a cell that is not remote. */
export function addMagic(source: string, app: string): string {
  return `${app ? `${MAGIC} --app ${app}` : MAGIC}\n${source}`;
}

/** Whether a cell begins with another cell magic, such as `%%bash`. */
export function hasOtherMagic(source: string): boolean {
  return (
    source.trimStart().startsWith('%%') && parseRemoteCell(source) === null
  );
}

function remotePart(body: string): string {
  const local = LOCAL_LINE.exec(body);
  LOCAL_LINE.lastIndex = 0;
  return local ? body.slice(0, local.index) : body;
}

function definedNames(code: string): string[] {
  const names = [...code.matchAll(DEFINITION)].map(found => found[1]);
  return [...new Set(names.filter(name => !name.startsWith('_')))];
}

interface ILine {
  app: string | null;
  name: string | null;
  runsHere: boolean;
}

function parseLine(line: string): ILine {
  const words = line.match(/(?:[^\s"']+|"[^"]*"|'[^']*')+/g) ?? [];
  const result: ILine = { app: null, name: null, runsHere: false };
  for (let at = 0; at < words.length; at += 1) {
    const [option, value] = splitOption(words[at]);
    if (!option.startsWith('-')) {
      result.name ??= option;
    } else if (FLAGS.has(option)) {
      result.runsHere ||= option === '--local' || option === '--dry-run';
    } else {
      at += value === null ? 1 : 0;
      const given = value ?? words.at(at) ?? '';
      result.app = option === '--app' ? unquote(given) : result.app;
    }
  }
  return result;
}

function splitOption(word: string): [string, string | null] {
  const at = word.startsWith('--') ? word.indexOf('=') : -1;
  return at < 0 ? [word, null] : [word.slice(0, at), word.slice(at + 1)];
}

function unquote(text: string): string {
  return text.replace(/^(["'])(.*)\1$/, '$2');
}
