import { describe, expect, it } from 'vitest';

import { LaneStore } from '../laneData';
import {
  boxes,
  fitted,
  HOST,
  LANE,
  offset,
  places,
  spanAt,
  ticks,
  tickStep,
  timeAt,
  totalHeight,
  visiblePlaces,
  xOf,
  zoomed
} from '../layout';
import { lane, page, spans, T0, type Row } from './pages';

function store(
  rows: Row[],
  fields: Parameters<typeof page>[1] = {}
): LaneStore {
  const made = new LaneStore();
  made.add(page(rows, fields));
  return made;
}

const WINDOW = { start: T0, end: T0 + 10 };

describe('lanes', () => {
  it('are placed below the names of their hosts', () => {
    const { lanes } = store([], {
      lanes: [
        lane(1, { host: 'b' }),
        lane(2, { host: 'a' }),
        lane(3, { host: 'b' })
      ]
    });
    const list = places(lanes);
    expect(list.map(each => [each.host, each.data?.lane.number])).toEqual([
      ['a', undefined],
      ['a', 2],
      ['b', undefined],
      ['b', 1],
      ['b', 3]
    ]);
    expect(totalHeight(list)).toBe(2 * HOST + 3 * LANE);
  });

  it('are found by what is scrolled into view, also among thousands', () => {
    const { lanes } = store([], {
      lanes: Array.from({ length: 5000 }, (_, i) => lane(i + 1))
    });
    const list = places(lanes);
    const shown = visiblePlaces(list, 50_000, 300);
    expect(shown.length).toBeLessThan(15);
    expect(shown[0].top).toBeLessThanOrEqual(50_000);
    expect(shown[shown.length - 1].top + LANE).toBeGreaterThanOrEqual(50_300);
  });

  it('have a row for each of the inputs that overlap', () => {
    const [data] = store([
      [0, 4, 1, 0, 1],
      [1, 4, 1, 1, 1],
      [2, 1, 1, 2, 1],
      [5, 1, 1, 3, 1]
    ]).lanes;
    expect(data.spans.map(span => span.row)).toEqual([0, 1, 2, 0]);
    expect(data.rows).toBe(3);
  });

  it('keep one row for consecutive inputs whose clocks differ slightly', () => {
    const [data] = store([
      [0, 1, 1, 0, 1],
      [0.9995, 1, 1, 1, 1]
    ]).lanes;
    expect(data.rows).toBe(1);
  });
});

describe('boxes', () => {
  it('are where their times are', () => {
    const [place] = places(store([[2, 3, 1, 0, 1]]).lanes).filter(
      each => each.data?.lane.number === 1
    );
    const [box] = boxes(place, WINDOW, 1000);
    expect(box.x).toBeCloseTo(200);
    expect(box.width).toBeCloseTo(300);
    expect(box.load).toBe(1);
  });

  it('contain a span that began long before the visible time', () => {
    const made = store([
      [0, 100, 1, 0, 1],
      [101, 0.1, 1, 1, 1]
    ]);
    const place = places(made.lanes)[1];
    expect(boxes(place, { start: T0 + 50, end: T0 + 51 }, 100)).toHaveLength(1);
  });

  it('are at most as many as pixels for 100,000 spans, and count all of them', () => {
    const rows = Array.from({ length: 100_000 }, (_, i): Row => [
      i * 1e-4,
      5e-5,
      1,
      i,
      i % 1000 === 0 ? 2 : 1
    ]);
    const place = places(store(rows).lanes)[1];
    const found = boxes(place, WINDOW, 1000);
    expect(found.length).toBeLessThanOrEqual(1000);
    expect(found.reduce((sum, box) => sum + box.inputs, 0)).toBe(100_000);
    expect(found.reduce((sum, box) => sum + box.failed, 0)).toBe(100);
    const single = boxes(place, { start: T0, end: T0 + 0.01 }, 1000);
    expect(single.every(box => box.inputs === 1)).toBe(true);
  });

  it('are laid out within a frame for 100,000 spans in 50 lanes', () => {
    const rows = Array.from({ length: 100_000 }, (_, i): Row => [
      Math.floor(i / 50) * 5e-3,
      4e-3,
      1 + (i % 50),
      i,
      1
    ]);
    const made = store(rows, {
      lanes: Array.from({ length: 50 }, (_, i) => lane(i + 1))
    });
    const list = places(made.lanes);
    const times = [1, 2, 3, 4, 5].map(() => {
      const began = performance.now();
      list.forEach(place => boxes(place, WINDOW, 1200));
      return performance.now() - began;
    });
    expect(Math.min(...times)).toBeLessThan(50);
  });
});

describe('a point', () => {
  const made = store([
    [1, 2, 1, 0, 1],
    [5, 0.001, 1, 1, 2],
    [5.002, 0.001, 1, 2, 1]
  ]);
  const place = places(made.lanes)[1];
  const y = place.top + 10;

  it('finds the span below it', () => {
    expect(spanAt(place, 200, y, WINDOW, 1000)?.index).toBe(0);
    expect(spanAt(place, 400, y, WINDOW, 1000)).toBeNull();
  });

  it('finds a narrow span within a few pixels, a failed one first', () => {
    expect(spanAt(place, 502, y, WINDOW, 1000)?.index).toBe(1);
  });
});

describe('the visible time', () => {
  it('converts there and back', () => {
    expect(timeAt(xOf(T0 + 3, WINDOW, 800), WINDOW, 800)).toBeCloseTo(T0 + 3);
  });

  it('keeps the time below the pointer where it is', () => {
    const closer = zoomed(WINDOW, 0.5, T0 + 2);
    expect(xOf(T0 + 2, closer, 800)).toBeCloseTo(xOf(T0 + 2, WINDOW, 800));
    expect(closer.end - closer.start).toBeCloseTo(5);
  });

  it('is neither too short nor too long', () => {
    const least = zoomed(WINDOW, 1e-12, T0);
    expect(least.end - least.start).toBeGreaterThan(5e-5);
    const most = zoomed(WINDOW, 1e12, T0);
    expect(most.end - most.start).toBeLessThanOrEqual(30 * 86400);
  });

  it('has room at both ends', () => {
    const window = fitted(T0, T0 + 10);
    expect(window.start).toBeLessThan(T0);
    expect(window.end).toBeGreaterThan(T0 + 10);
  });
});

describe('the axis', () => {
  it('has round steps', () => {
    expect(tickStep(10, 10)).toBe(1);
    expect(tickStep(0.01, 10)).toBeCloseTo(0.001);
    expect(tickStep(0.3, 10)).toBeCloseTo(0.05);
    expect(tickStep(600, 10)).toBe(60);
    expect(tickStep(700, 10)).toBe(120);
  });

  it('counts from the origin', () => {
    const found = ticks(WINDOW, 900, T0);
    expect(found.map(tick => tick.label).slice(0, 3)).toEqual([
      '0 s',
      '1 s',
      '2 s'
    ]);
    expect(found).toHaveLength(11);
  });

  it('writes times shortly', () => {
    expect(offset(0.0012, 1e-4)).toBe('1.2 ms');
    expect(offset(1.25, 0.05)).toBe('1.25 s');
    expect(offset(200, 10)).toBe('3:20');
    expect(offset(3725, 60)).toBe('1:02:05');
    expect(offset(-1, 1)).toBe('−1 s');
  });
});

describe('the store', () => {
  it('replaces inputs that run by what they have become', () => {
    const made = store([[0, 1, 1, 0, 1]], {
      running: spans([[1, 2, 1, 1, 7]])
    });
    expect(made.lanes[0].spans.map(span => span.outcome)).toEqual([
      'succeeded',
      'running'
    ]);
    made.tick(T0 + 5);
    expect(made.lanes[0].spans[1].ended).toBe(T0 + 5);
    made.add(page([[1, 3, 1, 1, 2]]));
    expect(made.lanes[0].spans.map(span => span.outcome)).toEqual([
      'succeeded',
      'failed'
    ]);
    expect(made.size).toBe(2);
  });

  it('knows the first and the last time', () => {
    const made = store([
      [1, 100, 1, 0, 1],
      [2, 1, 1, 1, 1],
      [3, 1, 2, 2, 1]
    ]);
    expect(made.extent).toEqual({ start: T0 + 1, end: T0 + 101 });
    expect(new LaneStore().extent).toBeNull();
  });

  it('shows parts of the time where single spans are too many', () => {
    const made = store([], {
      bins: {
        start: T0,
        seconds: 0.5,
        lane: [1, 1],
        bin: [0, 3],
        inputs: [100, 50],
        failed: [0, 2],
        busy: [0.5, 0.25],
        call: [1, 1]
      }
    });
    expect(made.isBinned).toBe(true);
    const found = boxes(places(made.lanes)[1], WINDOW, 1000);
    expect(found.map(box => [box.x, box.width, box.load, box.failed])).toEqual([
      [0, 50, 1, 0],
      [150, 50, 0.5, 2]
    ]);
  });
});
