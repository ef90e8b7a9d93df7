/** Reads JSON, and Python literals that have a JSON form. */

/** The text is not a value that can be sent. */
export class LiteralError extends Error {}

/** [1, 2], (1, 2), {'a': None}, True, "text", -1.5 → the value as JSON has it. */
export function readLiteral(text: string): unknown {
  try {
    return exact(JSON.parse(text));
  } catch (reason) {
    if (reason instanceof LiteralError) {
      throw reason;
    }
    return new Reader(text).read();
  }
}

/** Refuse integers that a page would round. */
function exact(value: unknown): unknown {
  if (typeof value === 'number' && isRounded(value)) {
    throw new LiteralError('is too large to be sent exactly from this page');
  }
  if (Array.isArray(value)) {
    value.forEach(exact);
  } else if (typeof value === 'object' && value !== null) {
    Object.values(value).forEach(exact);
  }
  return value;
}

export function isRounded(value: number): boolean {
  return (
    !Number.isFinite(value) ||
    (Number.isInteger(value) && !Number.isSafeInteger(value))
  );
}

const WORDS: Readonly<Record<string, unknown>> = {
  None: null,
  True: true,
  False: false,
  null: null,
  true: true,
  false: false
};
const NUMBER = /^[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/;
const STRING = /^(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")/;
const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  '\\': '\\',
  "'": "'",
  '"': '"'
};

class Reader {
  constructor(private _rest: string) {}

  read(): unknown {
    const value = this._value();
    if (this._peek() !== '') {
      throw this._error();
    }
    return value;
  }

  private _value(): unknown {
    switch (this._peek()) {
      case '[':
        return this._items('[', ']');
      case '(':
        return this._tuple();
      case '{':
        return this._dict();
      case "'":
      case '"':
        return this._string();
      default:
        return this._word();
    }
  }

  private _items(open: string, close: string): unknown[] {
    const found: unknown[] = [];
    this._take(open);
    while (this._peek() !== close) {
      found.push(this._value());
      if (this._peek() !== close) {
        this._take(',');
      }
    }
    this._take(close);
    return found;
  }

  /** (1, 2) as a list, since JSON has no tuples; (1) is 1. */
  private _tuple(): unknown {
    const before = this._rest;
    const items = this._items('(', ')');
    const text = before.slice(0, before.length - this._rest.length);
    const isGroup = items.length === 1 && !/,\s*\)$/.test(text);
    return isGroup ? items[0] : items;
  }

  private _dict(): Record<string, unknown> {
    const found: Record<string, unknown> = {};
    this._take('{');
    while (this._peek() !== '}') {
      const key = this._value();
      if (typeof key !== 'string') {
        throw new LiteralError('has a key that is not a string');
      }
      this._take(':');
      Object.defineProperty(found, key, {
        value: this._value(),
        enumerable: true,
        writable: true,
        configurable: true
      });
      if (this._peek() !== '}') {
        this._take(',');
      }
    }
    this._take('}');
    return found;
  }

  private _string(): string {
    const match = this._match(STRING);
    const body = match[0].slice(1, -1);
    return body.replace(/\\(.)/g, (_, letter: string) => {
      if (!(letter in ESCAPES)) {
        throw new LiteralError(
          `has the escape \\${letter}; write JSON instead`
        );
      }
      return ESCAPES[letter];
    });
  }

  private _word(): unknown {
    const word = /^[A-Za-z]+/.exec(this._rest)?.[0] ?? '';
    if (word in WORDS) {
      this._rest = this._rest.slice(word.length);
      return WORDS[word];
    }
    return exact(Number(this._match(NUMBER)[0].replaceAll('_', '')));
  }

  private _match(pattern: RegExp): RegExpExecArray {
    const match = pattern.exec(this._rest);
    if (!match) {
      throw this._error();
    }
    this._rest = this._rest.slice(match[0].length);
    return match;
  }

  private _take(text: string): void {
    if (this._peek() !== text) {
      throw this._error();
    }
    this._rest = this._rest.slice(1);
  }

  /** The next character after spaces; '' at the end. */
  private _peek(): string {
    this._rest = this._rest.trimStart();
    return this._rest.charAt(0);
  }

  private _error(): LiteralError {
    return new LiteralError(
      'is not a value: write JSON or a Python literal, text in quotes'
    );
  }
}
