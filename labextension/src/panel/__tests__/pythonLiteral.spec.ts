import { describe, expect, it } from 'vitest';

import { readLiteral } from '../pythonLiteral';

describe('a literal', () => {
  it.each([
    ['1', 1],
    ['-1.5e3', -1500],
    ['1_000', 1000],
    ['True', true],
    ['None', null],
    ['"a"', 'a'],
    ["'it\\'s'", "it's"],
    ['[1, 2,]', [1, 2]],
    ['()', []],
    ['(1,)', [1]],
    ['(1)', 1],
    ['{\'a\': [None], "b": {}}', { a: [null], b: {} }],
    ['{"a": 1}', { a: 1 }]
  ])('%s', (text, value) => {
    expect(readLiteral(text)).toEqual(value);
  });

  it.each(['', 'x', '[1', '1 2', '{1: 2}', 'f(1)', '"a', '9007199254740993'])(
    'that is none: %s',
    text => {
      expect(() => readLiteral(text)).toThrow();
    }
  );

  it('may have a key that objects have already', () => {
    const value = readLiteral("{'__proto__': 1}");
    expect(JSON.stringify(value)).toBe('{"__proto__":1}');
  });
});
