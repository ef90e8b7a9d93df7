/** The view of a call that is drawn from the hub, and its requests. */
import { nullTranslator } from '@jupyterlab/translation';
import { DisposableDelegate } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';
import { beforeEach, describe, expect, it, vi } from 'vitest';

import { RequestError } from '../../model/request';
import type { ICallDetails, ICallRow, ILogsPage } from '../../model/schema';
import type { ICallRequests } from '../callRequests';
import { CallView } from '../callView';
import { HubCall, type ICallRows } from '../hubCall';
import { ID, ROW } from './row';

class Rows implements ICallRows {
  readonly changed = new Signal<this, void>(this);
  isConnected = true;
  observers = 0;
  current: ICallRow | null = ROW;

  row(): ICallRow | null {
    return this.current;
  }

  now(): number {
    return 1075;
  }

  observe(): DisposableDelegate {
    this.observers += 1;
    return new DisposableDelegate(() => {
      this.observers -= 1;
    });
  }

  set(change: Partial<ICallRow>): void {
    this.current = { ...ROW, ...this.current, ...change };
    this.changed.emit();
  }
}

class Requests implements ICallRequests {
  answer: Partial<ICallDetails> | Error = {};
  pages: ILogsPage[] = [];
  readonly asked: string[] = [];

  constructor(private readonly _rows: Rows) {}

  async details(call: string): Promise<ICallDetails> {
    this.asked.push('details');
    await Promise.resolve();
    if (this.answer instanceof Error) {
      throw this.answer;
    }
    return {
      now: 1075,
      call: this._rows.current ?? { ...ROW, id: call },
      result: null,
      traceback: null,
      errors: [],
      retriable: 0,
      waiting_for: '',
      kept_until: null,
      is_expired: false,
      ...this.answer
    };
  }

  logs(_call: string, after = 0): Promise<ILogsPage> {
    this.asked.push(`logs after ${after}`);
    const page = this.pages.shift();
    return page ? Promise.resolve(page) : new Promise(() => undefined);
  }

  async cancel(): Promise<void> {
    this.asked.push('cancel');
    await Promise.resolve();
  }

  async retry(): Promise<number> {
    this.asked.push('retry');
    await Promise.resolve();
    throw new Error('Nothing to retry.');
  }
}

function page(last: number, ended: boolean, ...messages: string[]): ILogsPage {
  const line = { id: last, at: 0, source: 'stdout', app: '', function: '' };
  const lines = messages.map(message => ({
    ...line,
    call: ID,
    index: 0,
    worker: '',
    message
  }));
  return { lines, last, ended, more: false };
}

let rows: Rows;
let requests: Requests;
let call: HubCall;

beforeEach(() => {
  vi.useRealTimers();
  rows = new Rows();
  requests = new Requests(rows);
  call = new HubCall(ID, rows, requests);
});

function view(): CallView {
  return new CallView({ call, trans: nullTranslator.load('nbfn') });
}

function button(shown: CallView, name: string): HTMLButtonElement | undefined {
  return [...shown.node.querySelectorAll('button')].find(
    each => each.textContent === name && !each.hidden
  );
}

const settled = (): Promise<void> =>
  new Promise(resolve => {
    setTimeout(resolve, 0);
  });

describe('the view of a call', () => {
  it('shows state, time and all counts, and text of users as text', async () => {
    await call.refresh();
    const shown = view();
    expect(shown.node.textContent).toContain('<b>train</b> v3');
    expect(shown.node.querySelector('[role=status]')?.textContent).toBe(
      'running 1:15 · fc-aaaa · 4 succeeded, 1 failed, 2 running, 3 waiting of 10'
    );
    expect(button(shown, 'Cancel')).toBeDefined();
    expect(button(shown, 'Copy id')).toBeDefined();
  });

  it('follows the rows that the server pushes', async () => {
    await call.refresh();
    const shown = view();
    rows.set({ state: 'failed', ended: 1100, failed: 2, not_run: 4 });
    rows.set({ running: 0, waiting: 0 });
    expect(shown.node.dataset.state).toBe('failed');
    expect(button(shown, 'Cancel')).toBeUndefined();
    expect(button(shown, 'Retry failed and not run (0)')).toBeUndefined();
    requests.answer = { retriable: 6 };
    await call.refresh();
    expect(button(shown, 'Retry failed and not run (6)')).toBeDefined();
  });

  it('offers no retry of a call that is not stored', async () => {
    rows.set({ durable: false, state: 'failed', ended: 1100 });
    requests.answer = { retriable: 6 };
    await call.refresh();
    expect(button(view(), 'Retry failed (0)')).toBeUndefined();
    expect(button(view(), 'Retry failed (6)')).toBeUndefined();
  });

  it('shows result, and groups of errors with their tracebacks', async () => {
    const group = {
      count: 3,
      type: 'ValueError',
      message: '<i>',
      where: 'f 4'
    };
    const error = { ...group, indexes: [1], traceback: 'Traceback …' };
    requests.answer = { errors: [error], result: "'30'" };
    await call.refresh();
    const shown = view();
    expect(shown.node.querySelector('.jp-nbfn-call-result')?.textContent).toBe(
      "'30'"
    );
    const box = shown.node.querySelector('details');
    expect(box?.querySelector('summary')?.textContent).toBe(
      '3× ValueError: <i>  f 4'
    );
    box?.setAttribute('open', '');
    await call.refresh();
    expect(shown.node.querySelector('details')?.open).toBe(true);
  });

  it('opens the output that was printed meanwhile, and follows it to its end', async () => {
    requests.pages = [page(5, false, 'one\n'), page(7, true, 'two\n')];
    await call.refresh();
    const shown = view();
    await call.follow();
    const output = shown.node.querySelector<HTMLElement>(
      '.jp-nbfn-call-output'
    );
    expect(output?.hidden).toBe(false);
    expect(output?.textContent).toBe('one\ntwo');
    expect(requests.asked).toContain('logs after 5');
    button(shown, 'Logs')?.click();
    expect(output?.hidden).toBe(true);
  });

  it('says as of when it is and what to type when the hub does not answer', async () => {
    await call.refresh();
    const shown = view();
    rows.isConnected = false;
    rows.changed.emit();
    const note = shown.node.querySelector('.jp-nbfn-call-note')?.textContent;
    expect(note).toMatch(/^as of \d\d:\d\d:\d\d; the hub does not answer/);
    expect(note).toContain(`%fn attach ${ID}`);
    expect(note).toContain(`nbfn.FunctionCall.from_id("${ID}")`);
    expect(button(shown, 'Cancel')).toBeUndefined();
    rows.isConnected = true;
    rows.changed.emit();
    expect(button(shown, 'Cancel')).toBeDefined();
  });

  it('says when the hub has forgotten the call', async () => {
    await call.refresh();
    const shown = view();
    rows.current = null;
    requests.answer = new RequestError('No such call.', 404);
    await call.refresh();
    expect(shown.node.textContent).toContain(
      'does not know this call any more'
    );
    expect(button(shown, 'Cancel')).toBeUndefined();
  });

  it('cancels, and shows why an action failed', async () => {
    await call.refresh();
    const shown = view();
    button(shown, 'Cancel')?.click();
    expect(button(shown, 'Cancel')?.disabled).toBe(true);
    await settled();
    expect(requests.asked).toContain('cancel');
    requests.answer = { retriable: 1 };
    rows.set({ state: 'failed', ended: 1100 });
    await call.refresh();
    button(shown, 'Retry failed (1)')?.click();
    await settled();
    expect(shown.node.textContent).toContain('Nothing to retry.');
    expect(button(shown, 'Retry failed (1)')?.disabled).toBe(false);
  });

  it('stops observing when it is disposed', () => {
    expect(rows.observers).toBe(1);
    call.dispose();
    expect(rows.observers).toBe(0);
    rows.set({ succeeded: 5 });
    expect(requests.asked).toEqual([]);
  });
});
