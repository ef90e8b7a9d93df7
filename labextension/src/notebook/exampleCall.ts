/** Writes Python code that looks a Function up, and an example call from its signature. */

import type { IFunctionDetails, IFunctionRow } from '../model/schema';

/** What the code depends on. */
export interface ICallable {
  app: string;
  name: string;
  kind: string;
  /** The name that the code binds. */
  variable: string;
  /** As `inspect.signature` writes it, such as "(x: int, *, how='fast') -> float". */
  signature: string;
  isGenerator: boolean;
  /** The URL of a web endpoint. */
  webUrl: string | null;
  /** Of a class: its methods. */
  methods: readonly IMethod[];
}

export interface IMethod {
  name: string;
  signature: string;
  is_generator: boolean;
}

export function toCallable(
  row: IFunctionRow,
  details: IFunctionDetails
): ICallable {
  return {
    app: row.app,
    name: row.name,
    kind: row.kind,
    variable: identifier(row.name),
    signature: details.signature,
    isGenerator: details.is_generator,
    webUrl: row.web_url,
    methods: details.methods
  };
}

/** The code that binds the Function to a name. */
export function importCode(target: ICallable): string {
  const kind = target.kind === 'cls' ? 'Cls' : 'Function';
  const place = `${quote(target.app)}, ${quote(target.name)}`;
  return `import nbfn\n\n${target.variable} = nbfn.${kind}.from_name(${place})`;
}

/** An example call of the bound name. */
export function callCode(target: ICallable): string {
  const name = target.variable;
  if (target.kind === 'cls') {
    const method = target.methods.at(0);
    const instance = `${name}(${exampleArguments(target.signature)})`;
    return method
      ? call(
          `${instance}.${method.name}`,
          method.signature,
          method.is_generator
        )
      : instance;
  }
  if (target.webUrl !== null) {
    return `${name}.get_web_url()`;
  }
  return call(name, target.signature, target.isGenerator);
}

/** A cell with both. */
export function cellCode(target: ICallable): string {
  return `${importCode(target)}\n${callCode(target)}`;
}

function call(target: string, signature: string, isGenerator: boolean): string {
  const given = exampleArguments(signature);
  return isGenerator
    ? `list(${target}.remote_gen(${given}))`
    : `${target}.remote(${given})`;
}

/** A name for the Function in the notebook; characters that an identifier cannot have become "_". */
function identifier(text: string): string {
  const name = text.replace(/[^\p{L}\p{N}_]/gu, '_');
  return /^\p{N}/u.test(name) || name === '' ? `_${name}` : name;
}

function quote(text: string): string {
  return JSON.stringify(text);
}

/** Values for the parameters without a default, by name where Python allows that. */
export function exampleArguments(signature: string): string {
  const found: string[] = [];
  const parameters = splitParameters(signature);
  // Parameters before a "/" have no names for callers.
  const slash = parameters.indexOf('/');
  parameters.forEach((parameter, at) => {
    if (parameter === '/' || parameter.startsWith('*')) {
      return;
    }
    const { name, annotation, hasDefault } = parseParameter(parameter);
    if (!hasDefault && name !== 'self') {
      const value = exampleValue(annotation);
      found.push(at > slash ? `${name}=${value}` : value);
    }
  });
  return found.join(', ');
}

interface IParameter {
  name: string;
  annotation: string;
  hasDefault: boolean;
}

function parseParameter(text: string): IParameter {
  const colon = indexOutside(text, ':');
  const equals = indexOutside(text, '=');
  const nameEnd = [colon, equals, text.length].filter(at => at >= 0);
  const annotationEnd = equals < 0 ? text.length : equals;
  return {
    name: text.slice(0, Math.min(...nameEnd)).trim(),
    annotation:
      colon < 0 || colon > annotationEnd
        ? ''
        : text.slice(colon + 1, annotationEnd).trim(),
    hasDefault: equals >= 0
  };
}

const EXAMPLES: readonly [RegExp, string][] = [
  [/^int\b/, '1'],
  [/^float\b/, '1.0'],
  [/^str\b/, '"text"'],
  [/^bool\b/, 'True'],
  [/^bytes\b/, 'b""'],
  [/^(?:list|List|Sequence|Iterable|Collection|collections\.abc\.\w+)\b/, '[]'],
  [/^(?:dict|Dict|Mapping)\b/, '{}'],
  [/^(?:tuple|Tuple)\b/, '()'],
  [/^(?:set|Set)\b/, 'set()'],
  [/^None\b/, 'None']
];

function exampleValue(annotation: string): string {
  const text = annotation.replace(/^['"]|['"]$/g, '').replace(/^typing\./, '');
  const choice = /^Literal\[(.*)\]$/.exec(text)?.[1];
  if (choice !== undefined) {
    return splitOutside(choice)[0] ?? '...';
  }
  return EXAMPLES.find(([pattern]) => pattern.test(text))?.[1] ?? '...';
}

/** The parameters between the outer brackets of a signature. */
function splitParameters(signature: string): string[] {
  const end = closingBracket(signature);
  return end < 0 ? [] : splitOutside(signature.slice(1, end));
}

function closingBracket(text: string): number {
  if (!text.startsWith('(')) {
    return -1;
  }
  let depth = 0;
  for (const [at, character] of outside(text)) {
    depth += '([{'.includes(character) ? 1 : ')]}'.includes(character) ? -1 : 0;
    if (depth === 0) {
      return at;
    }
  }
  return -1;
}

/** Split at commas that are outside of brackets and strings. */
function splitOutside(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (const [at, character] of outside(text)) {
    depth += '([{'.includes(character) ? 1 : ')]}'.includes(character) ? -1 : 0;
    if (character === ',' && depth === 0) {
      parts.push(text.slice(start, at));
      start = at + 1;
    }
  }
  return [...parts, text.slice(start)].map(part => part.trim()).filter(Boolean);
}

/** The first position of a character outside of brackets and strings; -1 if there is none. */
function indexOutside(text: string, wanted: string): number {
  let depth = 0;
  for (const [at, character] of outside(text)) {
    if (character === wanted && depth === 0) {
      return at;
    }
    depth += '([{'.includes(character) ? 1 : ')]}'.includes(character) ? -1 : 0;
  }
  return -1;
}

/** The characters of a text that are not in a string, with their positions. */
function* outside(text: string): Generator<[number, string]> {
  let quoted = '';
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charAt(at);
    if (quoted) {
      at += character === '\\' ? 1 : 0;
      quoted = character === quoted ? '' : quoted;
    } else if (character === '"' || character === "'") {
      quoted = character;
    } else {
      yield [at, character];
    }
  }
}
