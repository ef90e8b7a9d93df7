/** Pages as the server sends them, for tests. */
import type {
  ITimelineCall,
  ITimelineLane,
  ITimelinePage,
  ITimelineSpans,
  ITimelineSummary
} from '../../model/schema';

export const T0 = 1_700_000_000;

export function lane(
  number: number,
  fields: Partial<ITimelineLane> = {}
): ITimelineLane {
  return {
    number,
    worker: `wk-${number}`,
    host: 'here',
    pid: 100 + number,
    function: 'fu-1',
    name: 'f',
    app: 'app',
    asked: T0,
    connected: T0,
    bound: T0,
    loaded: T0 + 0.5,
    ended: 0,
    cold: true,
    lost: false,
    how: '',
    memory_peak: 0,
    ...fields
  };
}

export function call(
  number: number,
  fields: Partial<ITimelineCall> = {}
): ITimelineCall {
  return {
    number,
    id: `fc-${number}`,
    function: 'fu-1',
    name: 'f',
    app: 'app',
    version: 1,
    kind: 'map',
    ...fields
  };
}

/** A span as [start after T0, seconds, lane, index, outcome]. */
export type Row = [number, number, number, number, number];

export function spans(rows: Row[]): ITimelineSpans {
  return {
    queued: rows.map(() => T0),
    started: rows.map(row => T0 + row[0]),
    seconds: rows.map(row => row[1]),
    busy: rows.map(row => row[1]),
    index: rows.map(row => row[3]),
    inputs: rows.map(() => 1),
    lane: rows.map(row => row[2]),
    call: rows.map(() => 1),
    attempt: rows.map(() => 1),
    outcome: rows.map(row => row[4])
  };
}

export function summary(
  fields: Partial<ITimelineSummary> = {}
): ITimelineSummary {
  return {
    start: T0,
    end: T0 + 10,
    workers: 2,
    running: 0,
    other: 0,
    starting: 0,
    waiting: 0,
    idle: 0,
    inputs: 10,
    failed: 0,
    queued: 0,
    duration_p50: 1,
    duration_p95: 1,
    wait_p50: 0,
    wait_p95: 0,
    slowest: [],
    critical_lane: 0,
    tail: 0,
    ...fields
  };
}

export function page(
  rows: Row[],
  fields: Partial<ITimelinePage> = {}
): ITimelinePage {
  return {
    epoch: 1,
    now: T0 + 20,
    matched: rows.length,
    last: rows.length,
    more: false,
    dropped: 0,
    lanes: [lane(1), lane(2)],
    calls: [call(1)],
    spans: spans(rows),
    running: spans([]),
    bins: null,
    summary: summary(),
    ...fields
  };
}
