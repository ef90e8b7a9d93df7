import { describe, expect, it } from 'vitest';

import {
  addMagic,
  hasOtherMagic,
  hasRegisteredCode,
  parseRemoteCell,
  toggleMagic
} from '../remoteCell';

const DEF = 'def embed(x):\n    return x\n';

describe('parseRemoteCell', () => {
  it('finds the functions and classes that a cell registers', () => {
    const source = `%%remote --warm 1\nimport math\n\n${DEF}\nasync def later(): ...\ndef _helper(): ...\nclass Model:\n    def predict(self): ...\n`;
    expect(parseRemoteCell(source)?.names).toEqual(['embed', 'later', 'Model']);
  });

  it.each([
    ['%%remote --app churn', 'churn'],
    ['%%nbfn --app=churn', 'churn'],
    ["%%remote --max 4 --app 'my-app' --quiet", 'my-app'],
    ['%%remote --warm 1', null]
  ])('reads the app of %s', (line, app) => {
    expect(parseRemoteCell(`${line}\n${DEF}`)?.app).toBe(app);
  });

  it('reads the name that renames the only function', () => {
    expect(parseRemoteCell(`%%remote vectors --max 2\n${DEF}`)?.names).toEqual([
      'vectors'
    ]);
  });

  it('reads the name of a script, and not the value of an option', () => {
    const cell = parseRemoteCell(
      '%%remote train -i lr=0.1 -o model --no-run\nmodel = 1'
    );
    expect(cell?.names).toEqual(['train']);
    expect(parseRemoteCell('%%remote -i lr=0.1\nprint(lr)')?.names).toEqual([]);
  });

  it('does not count what is defined below %local', () => {
    const source = `%%remote\n${DEF}%local\ndef here(): ...\n`;
    expect(parseRemoteCell(source)?.names).toEqual(['embed']);
  });

  it.each(['', DEF, '%remote', '# %%remote', '%%remotely\nx', '%%bash\nls'])(
    'is null for %j',
    source => {
      expect(parseRemoteCell(source)).toBeNull();
    }
  );

  it('registers nothing with --local', () => {
    expect(parseRemoteCell(`%%remote --local\n${DEF}`)?.names).toEqual([]);
  });
});

describe('hasRegisteredCode', () => {
  const registered = `%%remote\n${DEF}`;

  it('ignores the options, blank ends, and what is below %local', () => {
    expect(hasRegisteredCode(`${DEF}\n\n`, registered)).toBe(true);
    expect(hasRegisteredCode(`${DEF}%local\nembed.remote(1)`, registered)).toBe(
      true
    );
  });

  it('sees a change of the code', () => {
    expect(hasRegisteredCode(DEF.replace('x\n', 'x + 1\n'), registered)).toBe(
      false
    );
    expect(hasRegisteredCode(`import os\n${DEF}`, registered)).toBe(false);
  });

  it('accepts a %local line in a string', () => {
    const code = 'def f():\n    return """\n%local\n"""\n';
    expect(hasRegisteredCode(code, `%%remote\n${code}`)).toBe(true);
  });
});

describe('toggleMagic', () => {
  it('adds the magic with the default app, and removes it again', () => {
    const remote = toggleMagic(DEF, 'churn');
    expect(remote).toBe(`%%remote --app churn\n${DEF}`);
    expect(toggleMagic(remote, 'churn')).toBe(DEF);
    expect(addMagic(DEF, '')).toBe(`%%remote\n${DEF}`);
  });

  it('knows other magics', () => {
    expect(hasOtherMagic('%%bash\nls')).toBe(true);
    expect(hasOtherMagic(`%%remote\n${DEF}`)).toBe(false);
    expect(hasOtherMagic(DEF)).toBe(false);
  });
});
