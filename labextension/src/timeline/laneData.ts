/** Makes lanes of the columns that the server sends, and adds later ones to them. */
import type {
  ITimelineBins,
  ITimelineCall,
  ITimelineLane,
  ITimelinePage,
  ITimelineSpans
} from '../model/schema';
import { outcomeOf, type ILaneData, type ISpan } from './types';

/** The most rows in which inputs that overlap are drawn. */
export const MOST_ROWS = 12;

/** The lanes of all workers, by number. */
export class LaneStore {
  /** The lanes, by host and start. */
  get lanes(): ILaneData[] {
    return this._ordered;
  }

  /** The number of spans that have ended. */
  get size(): number {
    return this._size;
  }

  /** Whether the lanes have bins instead of spans. */
  get isBinned(): boolean {
    return this._binned;
  }

  /** The calls that spans belong to. */
  get calls(): ITimelineCall[] {
    return [...this._calls.values()];
  }

  /** Forget everything. */
  clear(): void {
    this._lanes.clear();
    this._calls.clear();
    this._ordered = [];
    this._running = [];
    this._size = 0;
    this._binned = false;
  }

  /** Add the spans of a page; inputs that run now replace those of the page before. */
  add(page: ITimelinePage): void {
    for (const call of page.calls) {
      this._calls.set(call.number, call);
    }
    for (const lane of page.lanes) {
      this._put(lane);
    }
    for (const span of this._running) {
      const data = this._lanes.get(span.lane.number);
      if (data) {
        data.spans = data.spans.filter(each => each !== span);
      }
    }
    this._append(page.spans);
    this._size += page.spans.started.length;
    this._running = this._append(page.running);
    if (page.bins) {
      this._binned = true;
      this._addBins(page.bins);
    }
    this._order();
  }

  /** Set the end of inputs that run to the time now. */
  tick(now: number): void {
    for (const span of this._running) {
      span.ended = Math.max(now, span.started);
      span.busy = span.ended - span.started;
      const data = this._lanes.get(span.lane.number);
      if (data) {
        data.longest = Math.max(data.longest, span.busy);
      }
    }
  }

  /** The first and the last time of anything that is shown; null if there is nothing. */
  get extent(): { start: number; end: number } | null {
    let start = Infinity;
    let end = -Infinity;
    for (const { lane, spans, bins, longest } of this._ordered) {
      const first = spans.at(0)?.started ?? bins.at(0)?.started ?? lane.bound;
      start = Math.min(start, first || Infinity);
      end = Math.max(end, lane.loaded, bins.at(-1)?.ended ?? 0);
      for (let i = spans.length - 1; i >= 0; i--) {
        if (spans[i].started + longest < end) {
          break;
        }
        end = Math.max(end, spans[i].ended);
      }
    }
    return start < end ? { start, end } : null;
  }

  private _put(lane: ITimelineLane): void {
    const known = this._lanes.get(lane.number);
    if (known) {
      Object.assign(known.lane, lane);
    } else {
      this._lanes.set(lane.number, {
        lane: { ...lane },
        spans: [],
        bins: [],
        rows: 1,
        longest: 0
      });
    }
  }

  private _append(columns: ITimelineSpans): ISpan[] {
    const touched = new Set<ILaneData>();
    const added: ISpan[] = [];
    for (let i = 0; i < columns.started.length; i++) {
      const data = this._lanes.get(columns.lane[i] ?? -1);
      const call = this._calls.get(columns.call[i] ?? 0);
      if (data && call) {
        const span = spanAt(columns, i, data.lane, call);
        data.spans.push(span);
        data.longest = Math.max(data.longest, span.ended - span.started);
        added.push(span);
        touched.add(data);
      }
    }
    for (const data of touched) {
      arrange(data);
    }
    return added;
  }

  private _addBins(bins: ITimelineBins): void {
    for (let i = 0; i < bins.lane.length; i++) {
      const data = this._lanes.get(bins.lane[i] ?? -1);
      const call = this._calls.get(bins.call[i] ?? 0);
      if (data && call) {
        const started = bins.start + (bins.bin[i] ?? 0) * bins.seconds;
        data.bins.push({
          started,
          ended: started + bins.seconds,
          inputs: bins.inputs[i] ?? 0,
          failed: bins.failed[i] ?? 0,
          load: (bins.busy[i] ?? 0) / bins.seconds,
          call
        });
      }
    }
  }

  private _order(): void {
    this._ordered = [...this._lanes.values()].sort(
      (a, b) =>
        a.lane.host.localeCompare(b.lane.host) || a.lane.number - b.lane.number
    );
  }

  private readonly _lanes = new Map<number, ILaneData>();
  private readonly _calls = new Map<number, ITimelineCall>();
  private _ordered: ILaneData[] = [];
  private _running: ISpan[] = [];
  private _size = 0;
  private _binned = false;
}

function spanAt(
  columns: ITimelineSpans,
  i: number,
  lane: ITimelineLane,
  call: ITimelineCall
): ISpan {
  const started = columns.started[i] ?? 0;
  return {
    queued: columns.queued[i] ?? started,
    started,
    ended: started + (columns.seconds[i] ?? 0),
    busy: columns.busy[i] ?? 0,
    index: columns.index[i] ?? 0,
    inputs: columns.inputs[i] ?? 1,
    attempt: columns.attempt[i] ?? 1,
    outcome: outcomeOf(columns.outcome[i] ?? 0),
    row: 0,
    lane,
    call
  };
}

/** Sort the spans of a lane, and give those that overlap different rows. */
export function arrange(data: ILaneData): void {
  data.spans.sort((a, b) => a.started - b.started);
  const ends: number[] = [];
  for (const span of data.spans) {
    // The measured times of consecutive inputs may overlap by the error of a clock.
    const tolerance = Math.min(1e-3, (span.ended - span.started) / 4);
    let row = ends.findIndex(end => end <= span.started + tolerance);
    if (row < 0) {
      row = ends.length < MOST_ROWS ? ends.length : MOST_ROWS - 1;
    }
    ends[row] = Math.max(ends[row] ?? 0, span.ended);
    span.row = row;
  }
  data.rows = Math.max(1, ends.length);
}
