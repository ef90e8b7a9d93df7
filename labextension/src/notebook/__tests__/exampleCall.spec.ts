import { describe, expect, it } from 'vitest';

import {
  callCode,
  cellCode,
  exampleArguments,
  importCode,
  type ICallable
} from '../exampleCall';

const AREA: ICallable = {
  app: 'shapes',
  name: 'area',
  kind: 'function',
  variable: 'area',
  signature: '(radius: float, *, unit: str = "m") -> float',
  isGenerator: false,
  webUrl: null,
  methods: []
};

describe('exampleArguments', () => {
  it.each([
    ['()', ''],
    ['(x)', 'x=...'],
    ['(x: int, y: float = 1.5)', 'x=1'],
    ['(x: int, /, y: str)', '1, y="text"'],
    ['(*args, **kwargs)', ''],
    ['(texts: list[str], *, sizes: dict[str, int])', 'texts=[], sizes={}'],
    ["(how: Literal['a, b', 'c'], x: bool)", "how='a, b', x=True"],
    ['(x: Callable[[int, str], None], y=(1, 2))', 'x=...'],
    ["(x='a) b', y: bytes = b'')", ''],
    ['not a signature', '']
  ])('%s → %s', (signature, given) => {
    expect(exampleArguments(signature)).toBe(given);
  });
});

describe('code', () => {
  it('looks a Function up and calls it', () => {
    expect(cellCode(AREA)).toBe(
      'import nbfn\n\narea = nbfn.Function.from_name("shapes", "area")\narea.remote(radius=1.0)'
    );
  });

  it('iterates over a generator', () => {
    expect(callCode({ ...AREA, isGenerator: true })).toBe(
      'list(area.remote_gen(radius=1.0))'
    );
  });

  it('creates an object of a class and calls its first method', () => {
    const model: ICallable = {
      ...AREA,
      name: 'Model',
      variable: 'Model',
      kind: 'cls',
      signature: '(name: str)',
      methods: [{ name: 'predict', signature: '(x)', is_generator: false }]
    };
    expect(importCode(model)).toContain(
      'nbfn.Cls.from_name("shapes", "Model")'
    );
    expect(callCode(model)).toBe('Model(name="text").predict.remote(x=...)');
  });

  it('asks an endpoint for its URL', () => {
    expect(callCode({ ...AREA, webUrl: 'http://127.0.0.1:1/' })).toBe(
      'area.get_web_url()'
    );
  });

  it('quotes names', () => {
    expect(importCode({ ...AREA, app: 'a"b' })).toContain('"a\\"b"');
  });
});
