import { act, fireEvent, screen, within } from '@testing-library/react';
import React from 'react';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { LabCommands } from '../commandIds';
import { FunctionsSection } from '../functionsSection';
import { DEBOUNCE, UNDO_TIME } from '../warmChanges';
import { functionRow } from './fake';
import { PanelTest } from './panel';

let test: PanelTest;

beforeEach(async () => {
  test = new PanelTest();
  await test.show(<FunctionsSection />);
});

afterEach(() => test.dispose());

function row(name: string): HTMLElement {
  return screen.getByRole('treeitem', { name });
}

function stepper(name = 'square'): HTMLInputElement {
  return screen.getByRole<HTMLInputElement>('spinbutton', {
    name: `Warm workers of ${name}`
  });
}

function click(name: string, at: HTMLElement, timeStamp: number): void {
  const event = new MouseEvent('click', { bubbles: true, cancelable: true });
  Object.defineProperty(event, 'timeStamp', { value: timeStamp });
  act(() => {
    within(at).getByRole('button', { name }).dispatchEvent(event);
  });
}

describe('a Function', () => {
  it('shows its state in words, its numbers and what it waits for', () => {
    const embed = row('embed, busy');
    for (const text of [
      'v3',
      'workers 8 (+2 starting)',
      'queue 331',
      'running 8',
      'p50 0.5 s',
      'at its limit of 10 workers',
      'busy'
    ]) {
      expect(embed.textContent).toContain(text);
    }
    expect(embed.querySelector('[data-state=busy] [aria-hidden]')).not.toBe(
      null
    );
    expect(within(embed).getByRole('img', { name: 'generator' })).not.toBe(
      null
    );
  });

  it('has each of its states as icon and word', async () => {
    const states = ['idle', 'busy', 'starting', 'failing', 'stopped'] as const;
    test.hub.rows.functions = states.map(state =>
      functionRow({ name: state, state })
    );
    await test.tell();
    const icons = states.map(
      state =>
        row(`${state}, ${state}`).querySelector('.jp-nbfn-stateIcon')
          ?.textContent
    );
    expect(new Set(icons).size).toBe(states.length);
  });

  it('has a badge when its cell differs from what is registered', async () => {
    expect(screen.queryByText('edited')).toBe(null);
    test.notebooks.edited.add('fu-square');
    await test.tell();
    expect(within(row('square, idle')).getByText('edited')).not.toBe(null);
  });

  it('of an anonymous cell or of a session is not listed', async () => {
    test.hub.rows.functions = [
      functionRow(),
      functionRow({ name: 'cell', purpose: 'script' }),
      functionRow({ name: 'session', purpose: 'session' })
    ];
    await test.tell();
    expect(screen.getAllByRole('treeitem')).toHaveLength(2);
  });

  it('whose name is HTML is shown as text', async () => {
    test.hub.rows.functions = [functionRow({ name: '<img src=x>' })];
    await test.tell();
    expect(screen.getByText('<img src=x>')).not.toBe(null);
    expect(document.querySelector('img[src=x]')).toBe(null);
  });

  it('without workers of its own has no stepper', async () => {
    test.hub.rows.functions = [
      functionRow({ has_workers: false, kind: 'cls' })
    ];
    await test.tell();
    expect(screen.queryByRole('spinbutton')).toBe(null);
    expect(screen.getByText('Each instance has its own workers.')).not.toBe(
      null
    );
  });
});

describe('the stepper', () => {
  it('shows clicks at once, and sends the last number', async () => {
    click('One warm worker more', row('square, idle'), 1000);
    click('One warm worker more', row('square, idle'), 1400);
    expect(stepper().value).toBe('3');
    expect(test.api.requests).toEqual([]);
    await test.settle(DEBOUNCE);
    expect(test.api.requests).toEqual([
      ['autoscaler', 'fu-square', { min_containers: 3 }]
    ]);
    expect(stepper().value).toBe('3');
    expect(stepper().getAttribute('aria-valuenow')).toBe('3');
  });

  it('ignores the second click of a double click', () => {
    click('One warm worker more', row('square, idle'), 1000);
    click('One warm worker more', row('square, idle'), 1090);
    expect(stepper().value).toBe('2');
  });

  it('is not changed by the mouse wheel', () => {
    stepper().focus();
    fireEvent.wheel(stepper(), { deltaY: -100 });
    expect(stepper().type).toBe('text'); // number fields follow the wheel
    expect(stepper().value).toBe('1');
  });

  it('undoes all clicks at once, for a while', async () => {
    click('One warm worker more', row('square, idle'), 1000);
    click('One warm worker more', row('square, idle'), 1400);
    await test.settle(DEBOUNCE);
    const undo = { name: 'Undo: 1 warm workers for square again' };
    fireEvent.click(screen.getByRole('button', undo));
    expect(stepper().value).toBe('1');
    await test.settle(DEBOUNCE);
    expect(test.api.requests.at(-1)).toEqual([
      'autoscaler',
      'fu-square',
      { min_containers: 1 }
    ]);
    expect(screen.queryByRole('button', undo)).toBe(null);

    click('One warm worker more', row('square, idle'), 5000);
    expect(screen.getByRole('button', undo)).not.toBe(null);
    await test.settle(UNDO_TIME);
    expect(screen.queryByRole('button', undo)).toBe(null);
  });

  it('says why it cannot go on, and what to do', async () => {
    fireEvent.change(stepper(), { target: { value: '4' } });
    fireEvent.keyDown(stepper(), { key: 'Enter' });
    expect(stepper().value).toBe('4');
    click('One warm worker more', row('square, idle'), 1000);
    expect(stepper().value).toBe('4');
    expect(within(row('square, idle')).getByRole('status').textContent).toBe(
      'At most 4 workers (max_containers). Autoscaler…'
    );
    click('One warm worker less', row('square, idle'), 2000);
    expect(within(row('square, idle')).queryByRole('status')).toBe(null);
    await test.settle(DEBOUNCE);
    expect(test.api.requests).toHaveLength(1);
  });

  it('takes arrow keys and typed numbers, and nothing that is none', async () => {
    stepper().focus();
    fireEvent.keyDown(stepper(), { key: 'ArrowUp' });
    expect(stepper().value).toBe('2');
    fireEvent.change(stepper(), { target: { value: 'x' } });
    fireEvent.blur(stepper());
    expect(stepper().value).toBe('2');
    fireEvent.keyDown(stepper(), { key: 'ArrowDown' });
    fireEvent.keyDown(stepper(), { key: 'ArrowDown' });
    fireEvent.keyDown(stepper(), { key: 'ArrowDown' });
    expect(stepper().value).toBe('0');
    expect(screen.getByText('No worker is kept warm.')).not.toBe(null);
    await test.settle(DEBOUNCE);
    expect(test.api.requests).toHaveLength(1);
  });

  it('goes back to the old number, with the reason, when refused', async () => {
    test.api.refusal = new Error('Not while it is being stopped.');
    click('One warm worker more', row('square, idle'), 1000);
    await test.settle(DEBOUNCE);
    expect(
      within(row('square, idle')).getByRole('alert').textContent
    ).toContain('Not while it is being stopped.');
    expect(stepper().value).toBe('1');
    expect(screen.queryByText('Undo')).toBe(null);
    fireEvent.click(screen.getByRole('button', { name: 'Dismiss' }));
    expect(screen.queryByRole('alert')).toBe(null);
  });

  it('keeps a click that was made during a request', async () => {
    click('One warm worker more', row('square, idle'), 1000);
    let release = (): void => undefined;
    test.api.hold = new Promise(resolve => {
      release = resolve;
    });
    await test.settle(DEBOUNCE);
    click('One warm worker more', row('square, idle'), 2000);
    release();
    await test.settle();
    expect(test.api.requests).toHaveLength(1);
    expect(stepper().value).toBe('3');
    await test.settle(DEBOUNCE);
    expect(stepper().value).toBe('3');
    expect(test.api.requests).toHaveLength(2);
  });

  it('follows the pool, whoever changed it', async () => {
    test.hub.applyAutoscaler('fu-square', {
      min_containers: 2,
      max_containers: 4,
      buffer_containers: 0,
      scaledown_window: 60
    });
    await test.tell();
    expect(stepper().value).toBe('2');
    click('One warm worker more', row('square, idle'), 1000);
    expect(stepper().value).toBe('3');
  });

  it('is disabled while the data is stale', async () => {
    test.hub.connection = 'unreachable';
    await test.tell();
    expect(stepper().disabled).toBe(true);
    expect(screen.getByRole('tree').className).toContain('jp-mod-stale');
  });
});

describe('the tree', () => {
  it('has one tab stop', () => {
    const stops = [
      ...screen.getByRole('tree').querySelectorAll<HTMLElement>('*')
    ].filter(node => node.tabIndex >= 0);
    expect(stops).toEqual([row('churn, 1 Function')]);
  });

  it('moves the focus by keys', () => {
    row('churn, 1 Function').focus();
    const press = (key: string): void => {
      fireEvent.keyDown(document.activeElement ?? document.body, { key });
    };
    press('ArrowDown');
    expect(document.activeElement).toBe(row('embed, busy'));
    press('End');
    expect(document.activeElement).toBe(row('square, idle'));
    press('ArrowLeft');
    expect(document.activeElement).toBe(row('notebook, 1 Function'));
    press('Home');
    expect(document.activeElement).toBe(row('churn, 1 Function'));
    press('s');
    expect(document.activeElement).toBe(row('square, idle'));
    expect(row('square, idle').tabIndex).toBe(0);
    expect(row('churn, 1 Function').tabIndex).toBe(-1);
    press('ArrowRight');
    expect(document.activeElement).toBe(
      screen.getByRole('button', { name: 'Call square…' })
    );
    press('ArrowRight');
    press('ArrowRight');
    expect(document.activeElement).toBe(stepper());
    press('Escape');
    expect(document.activeElement).toBe(row('square, idle'));
  });

  it('closes and opens an App', () => {
    const app = row('notebook, 1 Function');
    fireEvent.keyDown(app, { key: 'ArrowLeft' });
    expect(screen.queryByText('square')).toBe(null);
    expect(app.getAttribute('aria-expanded')).toBe('false');
    fireEvent.keyDown(app, { key: 'Enter' });
    expect(screen.getByText('square')).not.toBe(null);
  });

  it('draws the rows in view only', async () => {
    test.hub.rows.functions = Array.from({ length: 1000 }, (_, index) =>
      functionRow({ name: `f${index}` })
    );
    await test.tell();
    expect(screen.getAllByRole('treeitem').length).toBeLessThan(40);
    expect(
      screen.getAllByRole('treeitem')[1].getAttribute('aria-setsize')
    ).toBe('1000');
  });
});

describe('the section without rows', () => {
  it('says what to do when there is no Function', async () => {
    let inserted = 0;
    test.commands.addCommand(LabCommands.insertExample, {
      describedBy: { args: null },
      execute: () => (inserted += 1)
    });
    test.hub.rows.functions = [];
    await test.tell();
    expect(screen.getByText(/above a def/).textContent).toBe(
      'Put %%remote above a def and run the cell.'
    );
    fireEvent.click(screen.getByRole('button', { name: 'Insert example' }));
    expect(inserted).toBe(1);
  });

  it('offers to show all when the filter hides all', async () => {
    act(() => {
      test.model.filter.search = 'nothing of that name';
    });
    expect(screen.getByText('No Function matches the filter.')).not.toBe(null);
    fireEvent.click(screen.getByRole('button', { name: 'Show all' }));
    await test.settle();
    expect(row('square, idle')).not.toBe(null);
  });
});
