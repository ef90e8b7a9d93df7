import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { HubModel, SILENCE } from '../hubModel';
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
  const row = model.overview?.functions.find(each => each.id === SQUARE);
  if (!row) {
    throw new Error('no square');
  }
  return row;
}

/** The ids of unfinished calls. */
function unfinished() {
  return model.overview?.calls
    .filter(call => !['succeeded', 'failed', 'cancelled'].includes(call.state))
    .map(call => call.id);
}

describe('the overview', () => {
  it('stays, stale and with its time, when the server is gone', async () => {
    const fetchedAt = model.fetchedAt;
    const { now } = model;
    api.isDown = true;
    vi.advanceTimersByTime(5000);
    await model.refresh();
    expect(model.now).toBe(now);
    expect(model.connection).toBe('unreachable');
    expect(model.message).toBe('The Jupyter server does not respond.');
    expect(model.isStale).toBe(true);
    expect(model.fetchedAt).toEqual(fetchedAt);
    expect(model.overview?.functions).toHaveLength(2);
  });

  it('is fetched once more, not in parallel, for events during a fetch', async () => {
    api.fetches = 0;
    await Promise.all([model.refresh(), model.refresh(), model.refresh()]);
    expect(api.fetches).toBe(2);
  });
});

describe('events', () => {
  beforeEach(() => {
    api.fetches = 0;
  });

  it('change only the rows that they name, without a request', () => {
    const before = model.overview;
    const id = EMBED_CALL;
    const calls = [{ id, succeeded: 700, waiting: 285, failed: 7 }];
    model.receive(api.change({ calls, unfinished: 3 }));
    const [embed, square] = model.overview?.calls ?? [];
    expect(embed).toMatchObject({ function: 'embed', succeeded: 700 });
    expect(square).toBe(before?.calls[1]);
    expect(model.overview?.functions).toBe(before?.functions);
    expect(model.overview?.unfinished).toBe(3);
    expect(api.fetches).toBe(0);
  });

  it('add rows and remove them', () => {
    const { workers } = api.overviewOf;
    const made = { ...workers[0], id: 'wk-0000000000000000000009' };
    model.receive(api.change({ workers: [made], gone: [workers[1].id] }));
    expect(model.overview?.workers).toEqual([workers[0], made]);
  });

  it('are ignored if the overview was fetched after them', () => {
    const before = model.overview;
    const revision = api.overviewOf.revision - 1;
    const gone = [EMBED_CALL];
    model.receive(api.change({ previous: revision - 1, revision, gone }));
    expect(model.overview).toBe(before);
  });

  it('after a lost one make the model fetch once', async () => {
    const watching = model.observe();
    const { revision } = api.overviewOf;
    for (const step of [2, 3, 4]) {
      const at = { previous: revision + step - 1, revision: revision + step };
      model.receive(api.change(at));
    }
    await vi.advanceTimersByTimeAsync(0);
    expect(api.fetches).toBe(1);
    watching.dispose();
  });

  it('that arrive during a fetch are applied to what it brings', async () => {
    const fetching = model.refresh();
    model.receive(api.change({ gone: [EMBED_CALL] }));
    await fetching;
    expect(unfinished()).toEqual([]);
    expect(model.overview?.revision).toBe(api.overviewOf.revision + 1);
  });

  it('of another server, or after its restart, make the model fetch', async () => {
    const watching = model.observe();
    const change = api.change({ stream: 'of another process', revision: 1 });
    model.receive(change);
    await vi.advanceTimersByTimeAsync(0);
    expect(api.fetches).toBe(1);
    watching.dispose();
  });

  it('keep the time going, and a silence makes the model fetch', async () => {
    const watching = model.observe();
    const { revision, now } = api.overviewOf;
    const beat = { previous: revision, revision };
    vi.advanceTimersByTime(SILENCE);
    model.receive(api.change({ ...beat, now: now + 10 }));
    vi.advanceTimersByTime(SILENCE - 1000);
    model.catchUp();
    expect(api.fetches).toBe(0);
    expect(model.now).toBeCloseTo(now + 19, 3);
    vi.advanceTimersByTime(1001);
    model.catchUp();
    await vi.advanceTimersByTimeAsync(0);
    expect(api.fetches).toBe(1);
    watching.dispose();
  });

  it('cause no request while nothing is shown, or the page is hidden', async () => {
    const { revision } = api.overviewOf;
    const gap = api.change({ previous: revision + 5, revision: revision + 6 });
    model.receive(gap);
    model.isPaused = true;
    const watching = model.observe();
    model.receive(gap);
    vi.advanceTimersByTime(10 * SILENCE);
    model.catchUp();
    await vi.advanceTimersByTimeAsync(0);
    expect(api.fetches).toBe(0);
    model.isPaused = false;
    await vi.advanceTimersByTimeAsync(0);
    expect(api.fetches).toBe(1);
    watching.dispose();
  });

  it('say that the hub is gone; the rows stay, with their time', () => {
    const { now } = api.overviewOf;
    const message = 'nbfn is not running.';
    model.receive(api.change({ connection: 'absent', message, hub: null }));
    expect(model.isStale).toBe(true);
    expect(model.overview?.functions).toHaveLength(2);
    vi.advanceTimersByTime(5000);
    expect(model.now).toBe(now);
    expect(model.fetchedAt).toEqual(new Date(now * 1000));
  });
});

describe('the warm number', () => {
  it('is that of the response, without a request', async () => {
    api.fetches = 0;
    await model.setWarm(SQUARE, 3);
    expect(api.warm).toEqual([[SQUARE, 3]]);
    expect(square().min_containers).toBe(3);
    expect(api.fetches).toBe(0); // the answer has the settings
  });

  it('stays the old one, with the reason, when refused', async () => {
    api.refusal = 'min_containers 9 is above max_containers 8.';
    await model.setWarm(SQUARE, 9);
    expect(square().min_containers).toBe(1);
    expect(model.problems.of(SQUARE)).toBe(api.refusal);
    model.problems.dismiss(SQUARE);
    expect(model.problems.of(SQUARE)).toBeNull();
  });
});

describe('a call', () => {
  it('can be cancelled', async () => {
    await model.cancel(EMBED_CALL);
    expect(api.cancelled).toEqual([EMBED_CALL]);
    const calls = [{ id: EMBED_CALL, state: 'cancelled' as const }];
    model.receive(api.change({ calls }));
    expect(unfinished()).toEqual([]);
  });

  it('that cannot be cancelled says why', async () => {
    api.refusal = 'The hub is busy.';
    await model.cancel(EMBED_CALL);
    expect(model.problems.of(EMBED_CALL)).toBe('The hub is busy.');
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
    expect(model.problems.of('hub')).toBe('Disk full.');
  });
});
