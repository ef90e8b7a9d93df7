import { fireEvent, screen, within } from '@testing-library/react';
import React from 'react';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { IField } from '../../model/schema';
import { FunctionsSection } from '../functionsSection';
import { callRow, endedCall, functionRow, Refusal } from './fake';
import { PanelTest } from './panel';

function field(name: string, more: Partial<IField> = {}): IField {
  return {
    name,
    kind: 'expression',
    role: 'keyword',
    default: null,
    choices: [],
    about: '',
    ...more
  };
}

let test: PanelTest;

beforeEach(async () => {
  test = new PanelTest();
  test.hub.rows.functions = [functionRow()];
  test.api.fields = [
    field('x', { kind: 'int', about: 'int' }),
    field('how', {
      kind: 'choice',
      choices: ["'fast'", "'slow'"],
      default: "'fast'"
    }),
    field('shout', { kind: 'bool', default: 'False' }),
    field('more', { default: '[]', about: 'list' })
  ];
  await test.show(<FunctionsSection />);
  fireEvent.click(screen.getByRole('button', { name: 'Call square…' }));
  await test.settle();
});

afterEach(() => test.dispose());

function input(name: string): HTMLInputElement {
  return screen.getByLabelText<HTMLInputElement>(new RegExp(`^${name}`));
}

function type(name: string, value: string): void {
  fireEvent.change(input(name), { target: { value } });
}

async function submit(): Promise<void> {
  fireEvent.submit(screen.getByRole('form', { name: 'Call square' }));
  await test.settle();
}

describe('the form of a call', () => {
  it('is made from the signature, its first field has the focus', () => {
    expect(screen.getByText(/\(x: int, how: str/)).not.toBe(null);
    expect(screen.getByText('Return the square.')).not.toBe(null);
    expect(document.activeElement).toBe(input('x'));
    expect(input('how').value).toBe("'fast'");
    expect(input('shout').type).toBe('checkbox');
  });

  it('sends what differs from the defaults, as JSON', async () => {
    type('x', '12');
    type('how', "'slow'");
    fireEvent.click(input('shout'));
    type('more', "[1, (2, None), {'a': True}]");
    await submit();
    expect(test.api.requests).toEqual([
      [
        'call',
        'fu-square',
        {
          arguments: {
            x: 12,
            how: 'slow',
            shout: true,
            more: [1, [2, null], { a: true }]
          },
          method: ''
        }
      ]
    ]);
  });

  it.each([
    ['', 'x is missing.'],
    ['1.5', 'x is not an integer.'],
    [
      '12345678901234567890',
      'x is too large to be sent exactly from this page.'
    ]
  ])('refuses %j for an int, at its field', async (value, sentence) => {
    type('x', value);
    await submit();
    expect(test.api.requests).toEqual([]);
    expect(screen.getByRole('alert').textContent).toBe(sentence);
    expect(input('x').getAttribute('aria-invalid')).toBe('true');
    expect(document.activeElement).toBe(input('x'));
    type('x', '1');
    expect(screen.queryByRole('alert')).toBe(null);
  });

  it('shows the error of the hub at the field that it names', async () => {
    test.api.refusal = new Refusal('more must be a list.', 'more');
    type('x', '1');
    await submit();
    expect(screen.getByRole('alert').textContent).toBe('more must be a list.');
    expect(document.activeElement).toBe(input('more'));
  });

  it('shows any other error below', async () => {
    test.api.refusal = new Refusal('The hub is busy.');
    type('x', '1');
    await submit();
    expect(screen.getByRole('alert').textContent).toBe('The hub is busy.');
    expect(screen.getByText<HTMLButtonElement>('Call').disabled).toBe(false);
  });

  it('cancels the call, and says how it ended', async () => {
    type('x', '1');
    await submit();
    test.hub.rows.calls = [callRow({ id: 'fc-new', kind: 'spawn', total: 1 })];
    await test.tell();
    const form = screen.getByRole('form');
    expect(form.textContent).toContain('● running');
    fireEvent.click(within(form).getByText('Cancel'));
    await test.settle();
    expect(test.api.requests.at(-1)).toEqual(['cancel', 'fc-new']);
    test.hub.rows.calls = [endedCall({ id: 'fc-new', state: 'cancelled' })];
    await test.tell();
    expect(form.textContent).toContain('■ cancelled');
    expect(within(form).queryByText('Cancelling…')).toBe(null);
  });

  it('shows the result, and inserts it under a name that is new', async () => {
    test.api.details = {
      result: '<b>144</b>',
      call: endedCall({ id: 'fc-new', function: 'square' })
    };
    test.notebooks.used = ['square_result'];
    type('x', '12');
    await submit();
    test.hub.rows.calls = [endedCall({ id: 'fc-new', function: 'square' })];
    await test.tell();
    expect(screen.getByText('<b>144</b>')).not.toBe(null);
    fireEvent.click(screen.getByText('Insert into notebook'));
    expect(test.notebooks.inserted).toEqual([
      'import nbfn\nsquare_result_2 = nbfn.FunctionCall.from_id("fc-new").get()\nsquare_result_2'
    ]);
  });

  it('shows the traceback of a call that failed', async () => {
    test.api.details = { traceback: 'ValueError: <i>no</i>' };
    type('x', '12');
    await submit();
    test.hub.rows.calls = [endedCall({ id: 'fc-new', state: 'failed' })];
    await test.tell();
    expect(screen.getByRole('region', { name: 'Traceback' }).textContent).toBe(
      'ValueError: <i>no</i>'
    );
    expect(screen.getByText<HTMLButtonElement>('Call').disabled).toBe(false);
  });

  it('keeps its texts while the rows change, and is closed by its button', async () => {
    type('x', '77');
    test.hub.rows.functions = [functionRow({ state: 'busy' })];
    await test.tell();
    expect(input('x').value).toBe('77');
    fireEvent.click(
      screen.getByRole('button', { name: 'Close the form of square' })
    );
    expect(screen.queryByRole('form')).toBe(null);
    expect(document.activeElement).toBe(
      screen.getByRole('treeitem', { name: 'square, busy' })
    );
  });
});

describe('the versions of a Function', () => {
  it('are listed, and one of them can be made the current one', async () => {
    const version = {
      is_current: false,
      deployment: 1,
      deployed: 1_790_000_000,
      by: 'ada',
      commit: '0123456789',
      tag: 'release',
      nbfn: '0.1.0'
    };
    test.api.versionsOf = [
      { ...version, version: 2, is_current: true },
      { ...version, version: 1 }
    ];
    await test.commands.execute('nbfn:show-versions', {
      functionId: 'fu-square'
    });
    await test.settle();
    const group = screen.getByRole('group', { name: 'Versions of square' });
    expect(group.textContent).toContain('v2');
    expect(group.textContent).toContain('current');
    expect(group.textContent).toContain('01234567');
    fireEvent.click(
      screen.getByRole('button', { name: 'Roll square back to v1' })
    );
    await test.settle();
    expect(test.api.requests).toEqual([['rollback', 'fu-square', 1]]);
  });
});
