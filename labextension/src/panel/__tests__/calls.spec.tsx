import { act, fireEvent, screen, within } from '@testing-library/react';
import React from 'react';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { callRow, endedCall, NOW } from './fake';
import { PAGE } from '../callHistory';
import { CallsSection } from '../callsSection';
import { endedInputs } from '../counts';
import { PanelTest } from './panel';

let test: PanelTest;

beforeEach(() => {
  test = new PanelTest();
});

afterEach(() => test.dispose());

async function show(): Promise<void> {
  await test.show(<CallsSection />);
}

function row(name: string): HTMLElement {
  return screen.getByRole('treeitem', { name });
}

function titles(): (string | null)[] {
  return screen
    .getAllByRole('treeitem')
    .filter(item => item.getAttribute('aria-level') === '1')
    .map(item => item.getAttribute('aria-label'));
}

describe('the groups', () => {
  it('keep running, waiting, detached and ended calls and sessions apart', async () => {
    test.hub.rows.calls = [
      callRow({ function: 'a', state: 'running' }),
      callRow({ function: 'b', state: 'starting' }),
      callRow({ function: 'c', state: 'queued' }),
      callRow({ function: 'd', state: 'detached' }),
      callRow({ function: 'session', purpose: 'session' }),
      endedCall({ function: 'e' }),
      endedCall({ function: 'f', state: 'failed' }),
      endedCall({ function: 'g', state: 'cancelled' })
    ];
    await show();
    expect(titles()).toEqual([
      'Running, 2',
      'Waiting, 1',
      'Detached: their notebook is gone, 1',
      'Sessions of the remote kernel, 1',
      'History, 3'
    ]);
    expect(row('c.map, queued').textContent).toContain('○ queued');
    expect(row('d.map, detached').textContent).toContain('◇ detached');
    expect(row('e.remote, succeeded').textContent).toContain('✓ succeeded');
  });

  it('marks an ended call with failures by a warning', async () => {
    test.hub.rows.calls = [endedCall({ failed: 1, succeeded: 7, total: 8 })];
    await show();
    expect(row('embed.remote, succeeded').textContent).toContain('▲ succeeded');
  });

  it('moves a call to the history when it ends, and keeps it there', async () => {
    await show();
    expect(titles()).toEqual(['Running, 1']);
    test.hub.rows.calls = [endedCall({ kind: 'map' })];
    await test.tell();
    expect(titles()).toEqual(['History, 1']);
    test.hub.rows.calls = []; // the server has dropped it
    await test.tell();
    expect(titles()).toEqual(['History, 1']);
  });
});

describe('a call', () => {
  it('shows counts that add up to its total, for eyes and for screen readers', async () => {
    test.hub.rows.calls = [
      callRow({
        succeeded: 605,
        failed: 7,
        cancelled: 3,
        not_run: 2,
        waiting: 375
      })
    ];
    await show();
    const [call] = test.hub.rows.calls;
    expect(endedInputs(call) + call.running + call.waiting).toBe(call.total);
    const bar = screen.getByRole('progressbar', {
      name: 'Progress of embed.map'
    });
    expect(bar.getAttribute('aria-valuetext')).toBe(
      '617 / 1000, 605 succeeded, 7 failed, 3 cancelled, 8 running, 375 waiting, 2 not run'
    );
    expect(bar.getAttribute('aria-valuenow')).toBe('617');
    expect(row('embed.map, running').textContent).toContain('7 failed');
    expect(row('embed.map, running').textContent).toContain('churn.ipynb');
  });

  it('has an age that ticks, and stands still when the data is stale', async () => {
    await show();
    expect(row('embed.map, running').textContent).toContain('43.0 s');
    await test.settle(5000);
    expect(row('embed.map, running').textContent).toContain('48.0 s');
    test.hub.connection = 'unreachable';
    await test.tell();
    const before = row('embed.map, running').textContent;
    await test.settle(5000);
    expect(row('embed.map, running').textContent).toBe(before);
  });

  it('whose inputs are still read has an unknown total', async () => {
    test.hub.rows.calls = [callRow({ more: true })];
    await show();
    const bar = screen.getByRole('progressbar');
    expect(bar.getAttribute('aria-valuetext')).toMatch(/^612 \/ \?/);
    expect(bar.getAttribute('aria-valuenow')).toBe(null);
  });

  it('is cancelled by its button, and by Del', async () => {
    await show();
    fireEvent.click(screen.getByRole('button', { name: 'Cancel embed.map' }));
    expect(screen.getByText('Cancelling…')).not.toBe(null);
    await test.settle();
    row('embed.map, running').focus();
    fireEvent.keyDown(row('embed.map, running'), { key: 'Delete' });
    await test.settle();
    expect(test.api.requests).toEqual([
      ['cancel', 'fc-embed'],
      ['cancel', 'fc-embed']
    ]);
  });

  it('that cannot be cancelled says why, at its row', async () => {
    await show();
    test.api.refusal = new Error('The hub is busy.');
    fireEvent.click(screen.getByRole('button', { name: 'Cancel embed.map' }));
    await test.settle();
    expect(
      within(row('embed.map, running')).getByRole('alert').textContent
    ).toContain('The hub is busy.');
    expect(screen.getByText('Cancel')).not.toBe(null);
  });

  it('with failed and not run inputs offers to run both', async () => {
    test.hub.rows.calls = [
      endedCall({
        state: 'failed',
        kind: 'map',
        total: 300,
        succeeded: 8,
        failed: 1,
        not_run: 291
      })
    ];
    await show();
    fireEvent.click(screen.getByText('Retry failed and not run (292)'));
    await test.settle();
    expect(test.api.requests).toEqual([['retry', 'fc-embed']]);
  });

  it('opens to its error groups, their inputs and its log', async () => {
    test.api.details = {
      errors: [
        {
          count: 5,
          type: 'ValueError',
          message: 'bad <b>shape</b>',
          where: 'Cell In[12] line 4',
          indexes: [3, 17, 40, 41, 99],
          traceback: 'Traceback\n<script>'
        }
      ]
    };
    test.api.logLines = [
      {
        id: 1,
        at: NOW,
        source: 'stderr',
        app: '',
        function: '',
        call: 'fc-embed',
        index: 17,
        worker: 'wk-1',
        message: 'warning: <i>\n'
      }
    ];
    await show();
    const embed = row('embed.map, running');
    fireEvent.keyDown(embed, { key: 'Enter' });
    await test.settle();
    expect(embed.getAttribute('aria-expanded')).toBe('true');
    expect(embed.textContent).toContain('ValueError: bad <b>shape</b>');
    expect(embed.textContent).toContain('5×');
    expect(embed.textContent).toContain('Cell In[12] line 4');
    expect(embed.textContent).toContain('inputs 3, 17, 40, 41, 99');
    expect(embed.textContent).toContain('17 warning: <i>');
    expect(screen.queryByRole('region', { name: 'Traceback' })).toBe(null);
    fireEvent.click(screen.getByText('Traceback'));
    expect(
      screen.getByRole('region', { name: 'Traceback' }).textContent
    ).toContain('<script>');
  });

  it('that is open follows the errors', async () => {
    await show();
    fireEvent.keyDown(row('embed.map, running'), { key: 'Enter' });
    await test.settle(1000);
    test.api.details = { traceback: 'the new one' };
    test.hub.rows.calls = [callRow({ failed: 8, succeeded: 604 })];
    await test.tell();
    await test.settle(1000);
    expect(screen.getByText('the new one')).not.toBe(null);
  });
});

describe('a session', () => {
  it('has no Cancel, and Del asks first', async () => {
    test.hub.rows.calls = [
      callRow({ function: 'session', kind: 'generator', purpose: 'session' })
    ];
    await show();
    const session = row('session.generator, running');
    expect(within(session).queryByText('Cancel')).toBe(null);
    expect(session.dataset.call).toBe(undefined);
    fireEvent.keyDown(session, { key: 'Delete' });
    await test.settle();
    expect(test.api.requests).toEqual([]);
    const dialog = screen.getByRole('dialog', { hidden: true });
    expect(dialog.textContent).toContain('End the session of churn.ipynb?');
    fireEvent.click(within(dialog).getByText('End session'));
    await test.settle();
    expect(test.api.requests).toEqual([['endSession', 'fc-session']]);
  });
});

describe('the history', () => {
  beforeEach(() => {
    test.hub.rows.calls = [];
    test.api.history = Array.from({ length: PAGE + 3 }, (_, index) =>
      endedCall({
        id: `fc-${index}`,
        function: `f${index}`,
        started: NOW - 100 - index
      })
    );
  });

  it('comes in pages', async () => {
    await show();
    expect(titles()).toEqual([`History, ${PAGE}+`]);
    screen.getAllByRole('treeitem')[0].focus();
    fireEvent.keyDown(screen.getAllByRole('treeitem')[0], { key: 'End' });
    await test.settle(20);
    fireEvent.keyDown(row('Show older calls'), { key: 'Enter' });
    await test.settle();
    expect(titles()).toEqual([`History, ${PAGE + 3}`]);
    expect(test.api.queries).toHaveLength(2);
    expect(screen.queryByText('Show older')).toBe(null);
  });

  it('is searched by the server too', async () => {
    await show();
    act(() => {
      test.model.filter.search = `f${PAGE + 2}`;
    });
    await test.settle(400);
    expect(test.api.queries.at(-1)).toMatchObject({ search: `f${PAGE + 2}` });
    expect(row(`f${PAGE + 2}.remote, succeeded`)).not.toBe(null);
    expect(titles()).toEqual(['History, 1']);
  });

  it('of this notebook hides the calls of others', async () => {
    test.api.history = [
      endedCall({ function: 'mine' }),
      endedCall({ id: 'fc-2', function: 'others', origin: '/home/bob/x.ipynb' })
    ];
    await show();
    expect(row('others.remote, succeeded')).not.toBe(null);
    act(() => {
      test.model.filter.notebook = 'churn.ipynb';
      test.model.filter.scope = 'notebook';
    });
    expect(screen.queryByText('others.remote')).toBe(null);
    expect(row('mine.remote, succeeded')).not.toBe(null);
  });

  it('says that there is none', async () => {
    test.api.history = [];
    await show();
    expect(screen.getByText('No Function was called yet.')).not.toBe(null);
  });
});
