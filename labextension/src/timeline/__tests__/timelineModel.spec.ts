import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import type { ITimelinePage, ITimelineQuery } from '../../model/schema';
import { advice, shares } from '../advice';
import { Looks } from '../painter';
import { replayCode } from '../replayCode';
import { TimelineModel } from '../timelineModel';
import { page, spans, summary, T0, type Row } from './pages';

class FakeApi {
  asked: ITimelineQuery[] = [];
  next: (query: ITimelineQuery) => ITimelinePage | Promise<ITimelinePage> =
    () => page(ROWS);

  async page(query: ITimelineQuery): Promise<ITimelinePage> {
    this.asked.push(query);
    return this.next(query);
  }

  failure(): Promise<string | null> {
    return Promise.resolve('ValueError: no');
  }
}

const ROWS: Row[] = [
  [1, 2, 1, 0, 1],
  [3, 2, 1, 1, 2],
  [1, 1, 2, 2, 1],
  [4, 1, 2, 3, 2]
];

function made(): { api: FakeApi; model: TimelineModel } {
  const api = new FakeApi();
  return { api, model: new TimelineModel(api) };
}

describe('the model', () => {
  it('loads everything once, then only what is new', async () => {
    const { api, model } = made();
    await model.setFilter({ call: 'fc-1' });
    expect(api.asked[0]).toMatchObject({
      call: 'fc-1',
      after: 0,
      summary: true
    });
    expect(api.asked[0].columns).toBeGreaterThan(0);
    api.next = () => page([[6, 1, 1, 4, 1]], { last: 5, matched: 1 });
    await model.refresh();
    expect(api.asked[1]).toMatchObject({ call: 'fc-1', after: 4 });
    expect(api.asked[1].columns).toBeUndefined();
    expect(model.matched).toBe(5);
  });

  it('goes on at once when there is more', async () => {
    const { api, model } = made();
    api.next = query =>
      query.after
        ? page([[6, 1, 1, 4, 1]], { last: 5 })
        : page(ROWS, { more: true });
    await model.reload();
    expect(api.asked).toHaveLength(2);
    expect(model.matched).toBe(5);
  });

  it('starts anew with a new hub', async () => {
    const { api, model } = made();
    await model.reload();
    api.next = () => page([[1, 1, 1, 0, 1]], { epoch: 2, last: 1 });
    await model.refresh();
    expect(api.asked.at(-1)?.after).toBe(0);
    expect(model.matched).toBe(1);
  });

  it('keeps what it has when a request fails, and says why', async () => {
    const { api, model } = made();
    await model.reload();
    api.next = () => Promise.reject(new Error('nbfn is not running.'));
    await model.refresh();
    expect(model.problem).toBe('nbfn is not running.');
    expect(model.matched).toBe(4);
    api.next = () => page(ROWS);
    await model.refresh();
    expect(model.problem).toBe('');
    expect(model.matched).toBe(4); // loaded anew, not twice
  });

  it('drops the answer for a filter that is no longer chosen', async () => {
    const { api, model } = made();
    let release: (value: ITimelinePage) => void = () => undefined;
    api.next = query =>
      query.call === 'fc-1'
        ? new Promise(resolve => (release = resolve))
        : page([[1, 1, 1, 9, 1]]);
    const first = model.setFilter({ call: 'fc-1' });
    const second = model.setFilter({ call: 'fc-2' });
    release(page(ROWS));
    await Promise.all([first, second]);
    expect(
      model.lanes.flatMap(each => each.spans).map(each => each.index)
    ).toEqual([9]);
  });

  it('shows everything until the user moves, and again with Fit', async () => {
    const { model } = made();
    await model.reload();
    expect(model.window.start).toBeLessThan(T0 + 1);
    expect(model.window.end).toBeGreaterThan(T0 + 5);
    model.zoom(0.5);
    expect(model.mode).toBe('free');
    const { window } = model;
    await model.refresh();
    expect(model.window).toEqual(window);
    model.fit();
    expect(model.window.end).toBeGreaterThan(T0 + 5);
  });

  it('follows the present', async () => {
    const { api, model } = made();
    api.next = () => page(ROWS, { running: spans([[6, 14, 1, 4, 7]]) });
    await model.reload();
    model.setWindow({ start: T0, end: T0 + 2 });
    model.setFollow(true);
    expect(model.isLive).toBe(true);
    expect(model.window.end).toBeGreaterThan(T0 + 20);
    expect(model.window.end - model.window.start).toBeCloseTo(2);
  });

  it('asks for parts of the time when there are too many spans', async () => {
    const { api, model } = made();
    const bins = {
      ...{ start: T0, seconds: 1, lane: [1], bin: [0] },
      ...{ inputs: [50_000], failed: [0], busy: [1], call: [1] }
    };
    api.next = () => page([], { bins, matched: 50_000 });
    await model.reload();
    expect(model.isBinned).toBe(true);
    expect(model.matched).toBe(50_000);
    model.setWindow({ start: T0 + 2, end: T0 + 4 });
    api.next = () => page(ROWS, { matched: 4 });
    await model.reload();
    expect(api.asked.at(-1)).toMatchObject({ since: T0 + 1, until: T0 + 5 });
    expect(model.isBinned).toBe(false);
  });

  it('moves the selection along lanes, between them, and to failures', async () => {
    const { model } = made();
    await model.reload();
    model.select(model.neighbour(1));
    expect(model.selected?.index).toBe(0);
    model.select(model.neighbour(1));
    expect(model.selected?.index).toBe(1);
    model.select(model.inNextLane(1));
    expect(model.selected?.index).toBe(3);
    model.select(null);
    model.select(model.nextFailure());
    expect(model.selected?.index).toBe(1);
    model.select(model.nextFailure());
    expect(model.selected?.index).toBe(3);
    model.select(model.nextFailure());
    expect(model.selected?.index).toBe(1);
  });

  it('keeps the selection of an input that ends', async () => {
    const { api, model } = made();
    api.next = () => page(ROWS, { running: spans([[6, 1, 1, 4, 7]]) });
    await model.reload();
    model.select(model.find(1, 4, 1));
    api.next = () => page([[6, 3, 1, 4, 2]], { last: 5 });
    await model.refresh();
    expect(model.selected?.outcome).toBe('failed');
  });

  it('moves a span that is selected into view', async () => {
    const { model } = made();
    await model.reload();
    model.setWindow({ start: T0 + 100, end: T0 + 101 });
    const span = model.find(1, 1, 1);
    model.select(span);
    expect(model.window.start).toBeLessThan(T0 + 5);
    expect(model.window.end).toBeGreaterThan(T0 + 3);
  });
});

describe('advice', () => {
  const trans = nullTranslator.load('nbfn');

  it('gives shares that add up to 1', () => {
    const found = shares(
      summary({ running: 5, starting: 2, waiting: 1, idle: 1, other: 1 }),
      trans
    );
    expect(found.reduce((sum, each) => sum + each.share, 0)).toBeCloseTo(1);
    expect(shares(summary(), trans).every(each => each.share === 0)).toBe(true);
  });

  it.each([
    [{ running: 1, starting: 9 }, 'Starting workers took 90 %'],
    [{ running: 1, idle: 9 }, 'idle for 90 %'],
    [{ running: 1, waiting: 9 }, 'waited for 90 %'],
    [{ running: 1, other: 9 }, 'Other calls used the same workers for 90 %'],
    [{ running: 10 }, 'Only faster code or more workers'],
    [{ running: 10, tail: 5 }, 'One worker ran alone for the last 5.0 s'],
    [{ running: 10, duration_p95: 30 }, '5 % take over 30.0 s']
  ])('explains %j', (fields, expected) => {
    expect(advice(summary(fields), trans)[0]).toContain(expected);
  });

  it('says nothing of nothing', () => {
    expect(advice(summary({ inputs: 0 }), trans)).toEqual([]);
  });
});

describe('looks', () => {
  it('differ in texture as well as in colour', () => {
    const looks = new Looks();
    const first = looks.of('fu-1');
    const second = looks.of('fu-2');
    expect(first.colour).not.toBe(second.colour);
    expect(first.texture).not.toBe(second.texture);
    expect(looks.of('fu-1')).toEqual(first);
    const all = Array.from({ length: 35 }, (_, i) => looks.of(`fu-${i}`));
    expect(new Set(all.map(each => each.colour + each.texture)).size).toBe(35);
  });
});

describe('the code of a replay', () => {
  it('is made of ids and numbers only', () => {
    expect(replayCode('fc-1a2B', 7)).toBe('%fn replay --run fc-1a2B[7]');
    expect(replayCode('fc-1\nimport os', 7)).toBeNull();
    expect(replayCode('fc-1', -1)).toBeNull();
    expect(replayCode('fc-1', NaN)).toBeNull();
    expect(replayCode('', 1)).toBeNull();
  });
});
