/** Which calls are announced, from the events that the server sends. */
import { beforeEach, describe, expect, it } from 'vitest';

import type { ICallPatch, ICallRow, IOverviewChange } from '../../model/schema';
import { CallEnds } from '../callEnds';

const ROW: ICallRow = {
  id: 'fc-1',
  function: 'train',
  function_id: 'fu-1',
  app: 'app',
  version: 1,
  kind: 'spawn',
  purpose: 'function',
  state: 'running',
  total: 1,
  succeeded: 0,
  failed: 0,
  cancelled: 0,
  running: 1,
  waiting: 0,
  not_run: 0,
  more: false,
  origin: '',
  started: 1000,
  ended: null,
  durable: true,
  notify: true
};

let known: ICallRow[];
let fetches: number;
let announced: string[];
let ends: CallEnds;

beforeEach(() => {
  known = [];
  fetches = 0;
  announced = [];
  ends = new CallEnds(() => {
    fetches += 1;
    return Promise.resolve(known);
  });
  ends.ended.connect((_, row) => announced.push(`${row.id} ${row.state}`));
});

function change(now: number, ...calls: ICallPatch[]): IOverviewChange {
  return { now, calls, gone: [] as string[] } as unknown as IOverviewChange;
}

const END: ICallPatch = { id: 'fc-1', state: 'succeeded', ended: 1061 };

describe('ends of calls', () => {
  it('announces a call that took over a minute, once', async () => {
    await ends.receive(change(1001, ROW));
    expect(announced).toEqual([]);
    await ends.receive(change(1061, END));
    await ends.receive(change(1062, END));
    expect(announced).toEqual(['fc-1 succeeded']);
    expect(fetches).toBe(0);
  });

  it('says nothing of shorter calls and of sessions', async () => {
    await ends.receive(
      change(1001, ROW, { ...ROW, id: 'fc-2', purpose: 'session' })
    );
    await ends.receive(change(1060, { ...END, ended: 1060 }));
    await ends.receive(change(1090, { ...END, id: 'fc-2', ended: 1090 }));
    expect(announced).toEqual([]);
  });

  it('knows the calls that ran before the page was opened', async () => {
    known = [ROW];
    await ends.start();
    await ends.receive(change(1070, END));
    expect(announced).toEqual(['fc-1 succeeded']);
  });

  it('asks when an event is about a call that it does not know', async () => {
    known = [{ ...ROW, state: 'failed', ended: 1070 }];
    await ends.receive(
      change(1070, { id: 'fc-1', state: 'failed', ended: 1070 })
    );
    expect(announced).toEqual(['fc-1 failed']);
  });

  it('says nothing of calls that ended before the page was opened', async () => {
    await ends.receive(change(2000, { ...ROW, state: 'failed', ended: 1070 }));
    expect(announced).toEqual([]);
  });

  it('announces a call that was retried again', async () => {
    await ends.receive(change(1001, ROW));
    await ends.receive(change(1061, END));
    await ends.receive(
      change(1070, { id: 'fc-1', state: 'running', ended: null, started: 1069 })
    );
    await ends.receive(
      change(1131, { id: 'fc-1', state: 'failed', ended: 1131 })
    );
    expect(announced).toEqual(['fc-1 succeeded', 'fc-1 failed']);
  });
});
