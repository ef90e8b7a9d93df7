import { act, fireEvent, screen, within } from '@testing-library/react';
import React from 'react';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Header } from '../header';
import { HealthSection } from '../healthSection';
import { WorkersSection } from '../workersSection';
import { functionRow, NOW, workerRow } from './fake';
import { PanelTest } from './panel';

let test: PanelTest;

beforeEach(() => {
  test = new PanelTest();
});

afterEach(() => test.dispose());

describe('the workers', () => {
  it('are listed by host, below what of the machine is in use', async () => {
    test.hub.rows.workers = [
      workerRow(),
      workerRow({ id: 'wk-2', host: 'gpu-box', gpus: ['0'], memory: null })
    ];
    await test.show(<WorkersSection />);
    expect(
      screen
        .getAllByRole('treeitem')
        .map(item => item.getAttribute('aria-label'))
    ).toEqual([
      'ada-laptop, 1 worker',
      'wk-3Qz7bA, idle',
      'gpu-box, 1 worker',
      'wk-2, idle'
    ]);
    const worker = screen.getByRole('treeitem', { name: 'wk-3Qz7bA, idle' });
    for (const text of ['square', 'pid 4301', '851 MB', 'up 3:12']) {
      expect(worker.textContent).toContain(text);
    }
    expect(
      screen
        .getByRole('progressbar', { name: 'cpu' })
        .getAttribute('aria-valuetext')
    ).toBe('3 of 8 in use');
    expect(
      screen
        .getByRole('progressbar', { name: 'memory' })
        .getAttribute('aria-valuetext')
    ).toBe('4.0 GB of 16.0 GB in use');
    expect(screen.getByText('none')).not.toBe(null);
  });

  it('are drained at once, and stopped after a question', async () => {
    await test.show(<WorkersSection />);
    fireEvent.click(screen.getByText('Drain'));
    await test.settle();
    expect(test.api.requests).toEqual([['drain', 'wk-3Qz7bAAAA']]);
    fireEvent.click(screen.getByRole('button', { name: 'Stop wk-3Qz7bA' }));
    await test.settle();
    expect(test.api.requests).toHaveLength(1);
    fireEvent.click(
      within(screen.getByRole('dialog', { hidden: true })).getByText('Stop')
    );
    await test.settle();
    expect(test.api.requests.at(-1)).toEqual(['stopWorker', 'wk-3Qz7bAAAA']);
  });

  it('of a session are not drained, and the question names the variables', async () => {
    test.hub.rows.workers = [workerRow({ session: 'fc-session' })];
    await test.show(<WorkersSection />);
    const args = { workerId: 'wk-3Qz7bAAAA' };
    expect(test.commands.isEnabled('nbfn:drain-worker', args)).toBe(false);
    fireEvent.keyDown(
      screen.getByRole('treeitem', { name: 'wk-3Qz7bA, idle' }),
      { key: 'Delete' }
    );
    await test.settle();
    const dialog = screen.getByRole('dialog', { hidden: true });
    expect(dialog.textContent).toContain('variables');
    fireEvent.click(within(dialog).getByText('Cancel'));
    await test.settle();
    expect(test.api.requests).toEqual([]);
  });

  it('that do not exist are explained', async () => {
    test.hub.rows.workers = [];
    await test.show(<WorkersSection />);
    expect(screen.getByText(/No worker runs/)).not.toBe(null);
  });
});

describe('the health', () => {
  it('is fetched when it is shown, and its uptime ticks', async () => {
    test.api.healthOf = {
      warnings: [
        {
          subject: 'hub',
          message: 'The disk is nearly full.',
          remedy: 'Delete old results.'
        }
      ],
      lost_workers: [
        {
          id: 'wk-lost',
          function: 'square',
          app: 'notebook',
          at: NOW,
          reason: 'killed by signal 9, peak 7.9 GB'
        }
      ]
    };
    await test.show(<HealthSection isShown />);
    for (const text of [
      'The disk is nearly full.',
      'Delete old results.',
      '1:02:05',
      '1.2 MB',
      'killed by signal 9, peak 7.9 GB'
    ]) {
      expect(document.body.textContent).toContain(text);
    }
    await test.settle(2000);
    expect(document.body.textContent).toContain('1:02:07');
  });
});

describe('the header', () => {
  beforeEach(() => test.show(<Header />));

  it('offers to start a hub that is not there', async () => {
    test.hub.connection = 'absent';
    test.hub.overview = null;
    await test.tell();
    expect(screen.getByText(/^nbfn is not running\. Start it/)).not.toBe(null);
    fireEvent.click(screen.getByRole('button', { name: 'Start' }));
    expect(screen.getByText('Starting…')).not.toBe(null);
    await test.settle();
    expect(screen.getByText('Hub running')).not.toBe(null);
  });

  it('says why a hub does not start', async () => {
    test.hub.connection = 'absent';
    test.api.refusal = new Error('Disk full.');
    await test.tell();
    fireEvent.click(screen.getByRole('button', { name: 'Start' }));
    await test.settle();
    expect(screen.getByRole('alert').textContent).toContain('Disk full.');
  });

  it('says since when the data is stale, and when it tries again', async () => {
    test.hub.connection = 'unreachable';
    test.hub.message = 'The Jupyter server does not respond.';
    test.hub.retryAt = new Date(Date.now() + 5000);
    await test.tell();
    expect(screen.getByText(/^as of \d\d:\d\d:\d\d$/)).not.toBe(null);
    expect(screen.getByRole('alert').textContent).toBe(
      'The Jupyter server does not respond.'
    );
    expect(screen.getByText('Next try in 5 s.')).not.toBe(null);
    await test.settle(2000);
    expect(screen.getByText('Next try in 3 s.')).not.toBe(null);
    fireEvent.click(screen.getByText('Retry now'));
    expect(test.hub.refreshes).toBe(1);
  });

  it('filters by text and by notebook', () => {
    fireEvent.change(screen.getByRole('searchbox'), {
      target: { value: 'churn emb' }
    });
    const passing = test.hub.rows.functions.filter(row =>
      test.model.filter.passesFunction(row)
    );
    expect(passing.map(row => row.name)).toEqual(['embed']);
    fireEvent.keyDown(screen.getByRole('searchbox'), { key: 'Escape' });
    expect(test.model.filter.search).toBe('');
    fireEvent.click(screen.getByRole('radio', { name: 'This notebook' }));
    expect(test.model.filter.passesFunction(functionRow())).toBe(false);
    act(() => {
      test.model.filter.notebook = 'churn.ipynb';
    });
    expect(test.model.filter.passesFunction(functionRow())).toBe(true);
  });
});

describe('the autoscaler dialog', () => {
  async function open(): Promise<HTMLElement> {
    void test.commands.execute('nbfn:show-autoscaler', {
      functionId: 'fu-square'
    });
    await test.settle(50);
    return screen.getByRole('dialog', { hidden: true });
  }

  function set(label: string, value: string): void {
    fireEvent.change(screen.getByLabelText(label), { target: { value } });
  }

  it('sends what was changed', async () => {
    const dialog = await open();
    set('Most workers', '8');
    set('Idle time', '2.5');
    fireEvent.click(within(dialog).getByText('Apply'));
    await test.settle(50);
    expect(test.api.requests).toEqual([
      ['autoscaler', 'fu-square', { max_containers: 8, scaledown_window: 2.5 }]
    ]);
    expect(screen.queryByRole('dialog', { hidden: true })).toBe(null);
  });

  it('stays open with errors at their fields', async () => {
    const dialog = await open();
    set('Least workers', '9');
    fireEvent.click(within(dialog).getByText('Apply'));
    await test.settle(50);
    expect(
      within(dialog).getByRole('alert', { hidden: true }).textContent
    ).toBe('Least workers is above most workers (4).');
    set('Least workers', '2');
    test.api.refusal = new Error('The hub is gone.');
    fireEvent.click(within(dialog).getByText('Apply'));
    await test.settle(50);
    expect(
      within(dialog).getByRole('alert', { hidden: true }).textContent
    ).toBe('The hub is gone.');
    expect(test.api.requests).toEqual([]);
    fireEvent.click(within(dialog).getByText('Cancel'));
    await test.settle(50);
    expect(screen.queryByRole('dialog', { hidden: true })).toBe(null);
  });
});
