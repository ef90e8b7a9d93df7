import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { DEBOUNCE, HubModel } from '../hubModel';
import { EMBED_CALL, FakeApi, SQUARE } from './fake';

let api: FakeApi;
let model: HubModel;

beforeEach(async () => {
  vi.useFakeTimers();
  api = new FakeApi();
  model = new HubModel(api);
  await model.refresh();
});

afterEach(() => {
  model.dispose();
  vi.useRealTimers();
});

function square() {
  const row = model.apps
    .flatMap(group => group.functions)
    .find(each => each.id === SQUARE);
  if (!row) {
    throw new Error('no square');
  }
  return row;
}

describe('the overview', () => {
  it('is grouped by app, apps and functions by name', () => {
    expect(
      model.apps.map(group => [group.app, group.functions.map(row => row.name)])
    ).toEqual([
      ['churn', ['embed']],
      ['notebook', ['square']]
    ]);
  });

  it('lists only calls that are not over', () => {
    expect(model.runningCalls.map(call => call.id)).toEqual([EMBED_CALL]);
  });

  it('stays, stale and with its time, when the server is gone', async () => {
    const fetchedAt = model.fetchedAt;
    api.isDown = true;
    vi.advanceTimersByTime(5000);
    await model.refresh();
    expect(model.connection).toBe('unreachable');
    expect(model.message).toBe('The Jupyter server does not respond.');
    expect(model.isStale).toBe(true);
    expect(model.fetchedAt).toBe(fetchedAt);
    expect(model.apps).toHaveLength(2);
  });

  it('is fetched once more, not in parallel, for events during a fetch', async () => {
    api.fetches = 0;
    await Promise.all([model.refresh(), model.refresh(), model.refresh()]);
    expect(api.fetches).toBe(2);
  });
});

describe('the warm number', () => {
  it('shows at once and is sent once, when the clicks have stopped', async () => {
    api.fetches = 0;
    model.setWarm(SQUARE, 2);
    model.setWarm(SQUARE, 3);
    expect(model.warm(square())).toBe(3);
    expect(api.warm).toEqual([]);
    await vi.advanceTimersByTimeAsync(DEBOUNCE);
    expect(api.warm).toEqual([[SQUARE, 3]]);
    expect(model.warm(square())).toBe(3);
    expect(square().min_containers).toBe(3);
    expect(api.fetches).toBe(0); // the answer has the settings
  });

  it('goes back to the old value, with the reason, when refused', async () => {
    api.refusal = 'min_containers 9 is above max_containers 8.';
    model.setWarm(SQUARE, 9);
    await vi.advanceTimersByTimeAsync(DEBOUNCE);
    expect(model.warm(square())).toBe(1);
    expect(model.problem(SQUARE)?.message).toBe(api.refusal);
    model.dismiss(SQUARE);
    expect(model.problem(SQUARE)).toBeNull();
  });

  it('keeps a click that was made while the last one was under way', async () => {
    model.setWarm(SQUARE, 2);
    await vi.advanceTimersByTimeAsync(DEBOUNCE - 1);
    const sending = vi.advanceTimersByTimeAsync(1);
    model.setWarm(SQUARE, 5);
    await sending;
    expect(model.warm(square())).toBe(5);
    await vi.advanceTimersByTimeAsync(DEBOUNCE);
    expect(square().min_containers).toBe(5);
  });

  it('is never below nothing', () => {
    model.setWarm(SQUARE, -1);
    expect(model.warm(square())).toBe(0);
  });
});

describe('a call', () => {
  it('can be cancelled', async () => {
    const cancelling = model.cancel(EMBED_CALL);
    expect(model.isCancelling(EMBED_CALL)).toBe(true);
    await cancelling;
    expect(api.cancelled).toEqual([EMBED_CALL]);
    expect(model.runningCalls).toEqual([]);
    expect(model.isCancelling(EMBED_CALL)).toBe(false);
  });

  it('that cannot be cancelled says why', async () => {
    api.refusal = 'The hub is busy.';
    await model.cancel(EMBED_CALL);
    expect(model.isCancelling(EMBED_CALL)).toBe(false);
    expect(model.problem(EMBED_CALL)?.message).toBe('The hub is busy.');
  });
});

describe('the hub', () => {
  beforeEach(() => {
    api.reply = {
      connection: 'absent',
      message: 'nbfn is not running.',
      overview: null
    };
  });

  it('can be started', async () => {
    await model.refresh();
    expect(model.connection).toBe('absent');
    await model.startHub();
    expect(model.connection).toBe('running');
    expect(model.isStale).toBe(false);
  });

  it('that does not start says why in the header', async () => {
    api.refusal = 'Disk full.';
    await model.startHub();
    expect(model.isStarting).toBe(false);
    expect(model.unattachedProblems).toEqual([
      { subject: 'hub', message: 'Disk full.' }
    ]);
  });
});
