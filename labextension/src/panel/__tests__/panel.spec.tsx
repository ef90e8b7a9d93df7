import { nullTranslator } from '@jupyterlab/translation';
import {
  act,
  cleanup,
  fireEvent,
  render,
  screen
} from '@testing-library/react';
import React from 'react';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { CallList } from '../calls';
import { FunctionTree } from '../functions';
import { Header } from '../header';
import { DEBOUNCE, HubModel } from '../../model/hubModel';
import { EMBED_CALL, FakeApi, SQUARE } from '../../model/__tests__/fake';

const trans = nullTranslator.load('nbfn');
let api: FakeApi;
let model: HubModel;

/** The three sections, drawn again whenever the model changes. */
function Panel(): React.JSX.Element {
  const [, redraw] = React.useReducer((n: number) => n + 1, 0);
  React.useEffect(() => {
    const slot = (): void => redraw();
    model.stateChanged.connect(slot);
    return () => {
      model.stateChanged.disconnect(slot);
    };
  }, []);
  return (
    <>
      <Header model={model} trans={trans} />
      <FunctionTree model={model} trans={trans} />
      <CallList model={model} trans={trans} />
    </>
  );
}

async function refresh(): Promise<void> {
  await act(() => model.refresh());
}

beforeEach(async () => {
  vi.useFakeTimers();
  api = new FakeApi();
  model = new HubModel(api);
  await model.refresh();
  render(<Panel />);
});

afterEach(() => {
  cleanup();
  model.dispose();
  vi.useRealTimers();
});

describe('a function', () => {
  it('shows its state in words, its numbers and what it waits for', () => {
    const row = screen.getByRole('treeitem', { name: 'embed, busy' });
    expect(row.textContent).toContain('v1');
    expect(row.textContent).toContain('backlog 331');
    expect(row.textContent).toContain('workers 8 (+2 starting)');
    expect(row.textContent).toContain('running 8');
    expect(row.textContent).toContain('at its limit of 10 workers');
  });

  it('says what it is, and when the hub calls it by itself', () => {
    const embed = screen.getByRole('treeitem', { name: 'embed, busy' });
    expect(embed.textContent).toContain('generator');
    expect(embed.textContent).not.toContain('Called by the hub');
    const square = screen.getByRole('treeitem', { name: 'square, idle' });
    expect(square.textContent).toContain('Called by the hub: every 10 minutes');
    expect(square.querySelector('.jp-nbfn-kind')).toBeNull();
  });

  it('links to where it answers, if it is a web endpoint', () => {
    const links = screen.getAllByRole<HTMLAnchorElement>('link');
    expect(links.map(link => link.href)).toEqual([
      'http://127.0.0.1:40001/bm90IGEgc2VjcmV0/churn-embed'
    ]);
    expect(links[0].rel).toContain('noopener');
  });

  it('has a warm stepper', async () => {
    const stepper = screen.getByRole<HTMLInputElement>('spinbutton', {
      name: 'Warm workers of square'
    });
    const more = screen.getAllByRole('button', {
      name: 'One warm worker more'
    })[1];
    fireEvent.click(more);
    fireEvent.click(more);
    expect(stepper.value).toBe('3');
    await act(() => vi.advanceTimersByTimeAsync(DEBOUNCE));
    expect(api.warm).toEqual([[SQUARE, 3]]);
  });

  it('has none where only its objects have workers', async () => {
    api.square.kind = 'cls';
    api.square.has_workers = false;
    await refresh();
    const row = screen.getByRole('treeitem', { name: 'square, idle' });
    expect(row.querySelector('input')).toBeNull();
    expect(row.textContent).toContain('its own workers');
  });

  it('takes a typed warm number, and nothing that is none', async () => {
    const stepper = screen.getByRole<HTMLInputElement>('spinbutton', {
      name: 'Warm workers of square'
    });
    fireEvent.change(stepper, { target: { value: '' } });
    fireEvent.blur(stepper);
    expect(stepper.value).toBe('1');
    fireEvent.change(stepper, { target: { value: '4' } });
    await act(() => vi.advanceTimersByTimeAsync(DEBOUNCE));
    expect(api.warm).toEqual([[SQUARE, 4]]);
  });

  it('keeps the old value and shows a banner when refused', async () => {
    api.refusal = 'Not while it is being stopped.';
    fireEvent.click(
      screen.getAllByRole('button', { name: 'One warm worker more' })[1]
    );
    await act(() => vi.advanceTimersByTimeAsync(DEBOUNCE));
    const row = screen.getByRole('treeitem', { name: 'square, idle' });
    expect(row.querySelector('[role=alert]')?.textContent).toContain(
      api.refusal
    );
    expect(row.querySelector('input')?.value).toBe('1');
    fireEvent.click(screen.getByRole('button', { name: 'Dismiss' }));
    expect(screen.queryByRole('alert')).toBeNull();
  });
});

describe('the tree', () => {
  it('closes and opens an app', () => {
    const app = screen.getByRole('treeitem', { name: 'notebook' });
    fireEvent.keyDown(app, { key: 'ArrowLeft' });
    expect(screen.queryByText('square')).toBeNull();
    expect(app.getAttribute('aria-expanded')).toBe('false');
    fireEvent.keyDown(app, { key: 'ArrowRight' });
    expect(screen.getByText('square')).not.toBeNull();
  });

  it('moves the focus by arrows, one item in the tab order', () => {
    const first = screen.getByRole('treeitem', { name: 'churn' });
    first.focus();
    fireEvent.keyDown(first, { key: 'ArrowDown' });
    const embed = screen.getByRole('treeitem', { name: 'embed, busy' });
    expect(document.activeElement).toBe(embed);
    expect(first.tabIndex).toBe(-1);
    fireEvent.keyDown(embed, { key: 'ArrowLeft' });
    expect(document.activeElement).toBe(first);
  });

  it('says what to do when there is no function', async () => {
    api.overviewOf.functions = [];
    await refresh();
    expect(screen.getByText(/above a def and run the cell/).textContent).toBe(
      'Put %%remote above a def and run the cell.'
    );
  });
});

describe('a call', () => {
  it('shows how far it is, for eyes and for screen readers', () => {
    const bar = screen.getByRole('progressbar', {
      name: 'Progress of embed.map'
    });
    expect(bar.getAttribute('aria-valuetext')).toBe('612 / 1000');
    expect(screen.getByText('failed 7')).not.toBeNull();
  });

  it('is cancelled by its button', async () => {
    await act(async () => {
      fireEvent.click(screen.getByRole('button', { name: 'Cancel embed.map' }));
      await Promise.resolve();
    });
    expect(api.cancelled).toEqual([EMBED_CALL]);
    const calls = [{ id: EMBED_CALL, state: 'cancelled' as const }];
    act(() => model.receive(api.change({ calls })));
    expect(screen.getByText('Nothing is running.')).not.toBeNull();
  });
});

describe('the header', () => {
  it('offers to start a hub that is not there', async () => {
    api.reply = {
      connection: 'absent',
      message: 'nbfn is not running.',
      overview: null
    };
    await refresh();
    expect(
      screen.getByText('nbfn is not running. Start it on this machine.')
    ).not.toBeNull();
    await act(async () => {
      fireEvent.click(screen.getByRole('button', { name: 'Start' }));
      await vi.advanceTimersByTimeAsync(0);
    });
    expect(screen.getByText('Hub running')).not.toBeNull();
  });

  it('greys what is old and says from when it is', async () => {
    api.isDown = true;
    await refresh();
    expect(screen.getByText(/^as of \d\d:\d\d:\d\d$/)).not.toBeNull();
    expect(screen.getByRole('tree').className).toContain('jp-mod-stale');
    expect(screen.getByRole('alert').textContent).toContain(
      'The Jupyter server does not respond.'
    );
    expect(
      screen.getByRole<HTMLButtonElement>('button', {
        name: 'Cancel embed.map'
      }).disabled
    ).toBe(true);
  });
});
