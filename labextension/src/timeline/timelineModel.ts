/** The state of one timeline: its filter, the spans, the visible time, the selection, and requests for more. */
import { Signal, type ISignal } from '@lumino/signaling';

import type {
  ITimelinePage,
  ITimelineQuery,
  ITimelineSummary
} from '../model/schema';
import { LaneStore } from './laneData';
import { fitted, panned, zoomed } from './layout';
import { isFailure, type ILaneData, type ISpan, type IWindow } from './types';

/** The most spans that are loaded one by one; above, the server sums up parts of the time. */
export const MOST_SPANS = 20_000;
/** Spans in memory above which everything is loaded anew. */
const MOST_IN_MEMORY = 100_000;
/** Seconds between two summaries while something runs. */
const SUMMARY_INTERVAL = 2;

export interface ITimelineApi {
  page(query: ITimelineQuery): Promise<ITimelinePage>;
  /** The traceback of an attempt; null if it is no longer kept. */
  failure(call: string, index: number, attempt: number): Promise<string | null>;
}

/** What is shown; no field means everything. */
export interface IFilter {
  call?: string;
  function?: string;
  worker?: string;
}

/** `fit` shows everything, `follow` the last part of it as time passes, `free` what the user chose. */
export type Mode = 'fit' | 'follow' | 'free';

export class TimelineModel {
  constructor(api: ITimelineApi) {
    this._api = api;
  }

  /** Emits when anything may have changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get lanes(): readonly ILaneData[] {
    return this._store.lanes;
  }

  get isBinned(): boolean {
    return this._store.isBinned;
  }

  get window(): IWindow {
    return this._window;
  }

  get mode(): Mode {
    return this._mode;
  }

  get filter(): IFilter {
    return this._filter;
  }

  get summary(): ITimelineSummary | null {
    return this._summary;
  }

  get selected(): ISpan | null {
    return this._selected;
  }

  /** Why the last request failed; empty if it did not. */
  get problem(): string {
    return this._problem;
  }

  /** When the data was loaded last; null before the first response. */
  get loadedAt(): Date | null {
    return this._loadedAt;
  }

  /** How many older spans the hub no longer has. */
  get dropped(): number {
    return this._page?.dropped ?? 0;
  }

  /** How many spans match the filter, also where they are not loaded one by one. */
  get matched(): number {
    return this._store.isBinned ? (this._page?.matched ?? 0) : this._store.size;
  }

  /** Whether anything runs or waits. */
  get isLive(): boolean {
    return (
      (this._page?.running.started.length ?? 0) > 0 ||
      (this._summary?.queued ?? 0) > 0
    );
  }

  /** The time that the axis counts from. */
  get origin(): number {
    return this._summary?.start ?? this._window.start;
  }

  /** The time on the hub's clock. */
  get now(): number {
    return this._hubNow + (performance.now() - this._receivedAt) / 1000;
  }

  /** The name of a call or Function in the data; its id if it has none. */
  nameOf(filter: IFilter): string {
    const call = this._store.calls.find(
      each => each.id === filter.call || each.function === filter.function
    );
    return (
      call?.name ??
      filter.call?.slice(0, 9) ??
      filter.function ??
      filter.worker ??
      ''
    );
  }

  /** Show something else. */
  setFilter(filter: IFilter): Promise<void> {
    this._filter = filter;
    this._selected = null;
    this._mode = 'fit';
    return this.reload();
  }

  /** The width in pixels decides how finely many spans are summed up. */
  setWidth(width: number): void {
    this._width = Math.max(100, Math.round(width));
  }

  /** Load everything anew. */
  async reload(): Promise<void> {
    this._reloadDue = true;
    await this._run();
  }

  /** Load what is new. */
  async refresh(): Promise<void> {
    await this._run();
  }

  /** Show a time. */
  setWindow(window: IWindow, mode: Mode = 'free'): void {
    this._window = window;
    this._mode = mode;
    this._changed.emit();
    if (this._store.isBinned) {
      this._loadWindowSoon();
    }
  }

  zoom(factor: number, centre?: number): void {
    const { start, end } = this._window;
    const following = this._mode === 'follow' && centre === undefined;
    this.setWindow(
      zoomed(
        this._window,
        factor,
        following ? end : (centre ?? (start + end) / 2)
      ),
      following ? 'follow' : 'free'
    );
  }

  /** Move by a share of the visible time. */
  pan(share: number): void {
    const { start, end } = this._window;
    this.setWindow(panned(this._window, share * (end - start)));
  }

  /** Show everything. */
  fit(): void {
    this._mode = 'fit';
    this._place();
    this._changed.emit();
    if (this._store.isBinned) {
      void this.reload();
    }
  }

  /** Keep the present visible, or stop doing so. */
  setFollow(follow: boolean): void {
    this._mode = follow ? 'follow' : 'free';
    this._place();
    this._changed.emit();
  }

  /** Let running inputs grow to the present; called several times a second while something runs. */
  tick(): void {
    if (this.isLive && this._problem === '') {
      this._store.tick(this.now);
      this._place();
      this._changed.emit();
    }
  }

  /** Select a span, and move it into view. */
  select(span: ISpan | null): void {
    this._selected = span;
    if (span) {
      this._reveal(span);
    }
    this._changed.emit();
  }

  /** Zoom to a span. */
  zoomTo(span: ISpan): void {
    this._selected = span;
    const room = (span.ended - span.started) * 0.5;
    this.setWindow(fitted(span.started - room, span.ended + room));
  }

  /** The next or previous span of the lane of the selected one, or the first visible one. */
  neighbour(step: 1 | -1): ISpan | null {
    const { _selected: from } = this;
    if (!from) {
      return this._firstVisible();
    }
    const spans = this._laneOf(from)?.spans ?? [];
    return spans[spans.indexOf(from) + step] ?? from;
  }

  /** The span at the same time in the lane below or above. */
  inNextLane(step: 1 | -1): ISpan | null {
    const { _selected: from } = this;
    if (!from) {
      return this._firstVisible();
    }
    const { lanes } = this._store;
    let at = lanes.findIndex(each => each.lane.number === from.lane.number);
    for (at += step; at >= 0 && at < lanes.length; at += step) {
      const nearest = closest(lanes[at].spans, from.started);
      if (nearest) {
        return nearest;
      }
    }
    return from;
  }

  /** The next failure after the selected span in order of time; the first one after the last. */
  nextFailure(): ISpan | null {
    const failures = this._store.lanes
      .flatMap(data => data.spans.filter(each => isFailure(each.outcome)))
      .sort((a, b) => a.ended - b.ended);
    const at = this._selected ? failures.indexOf(this._selected) : -1;
    const after = this._selected?.ended ?? -Infinity;
    return (
      (at >= 0
        ? failures[(at + 1) % failures.length]
        : failures.find(each => each.ended > after)) ??
      failures.at(0) ??
      null
    );
  }

  /** The span of an attempt, if it is loaded. */
  find(call: number, index: number, attempt: number): ISpan | null {
    for (const { spans } of this._store.lanes) {
      const found = spans.find(
        span =>
          span.call.number === call &&
          span.attempt === attempt &&
          span.index <= index &&
          index < span.index + span.inputs
      );
      if (found) {
        return found;
      }
    }
    return null;
  }

  traceback(span: ISpan): Promise<string | null> {
    return this._api.failure(span.call.id, span.index, span.attempt);
  }

  dispose(): void {
    this._disposed = true;
    clearTimeout(this._timer);
    Signal.clearData(this);
  }

  private _firstVisible(): ISpan | null {
    const { start } = this._window;
    for (const { spans } of this._store.lanes) {
      const found = spans.find(span => span.ended >= start);
      if (found) {
        return found;
      }
    }
    return null;
  }

  private _laneOf(span: ISpan): ILaneData | undefined {
    return this._store.lanes.find(
      each => each.lane.number === span.lane.number
    );
  }

  private _reveal(span: ISpan): void {
    const { start, end } = this._window;
    if (span.ended < start || span.started > end) {
      const middle = (span.started + span.ended) / 2;
      this._window = panned(this._window, middle - (start + end) / 2);
      this._mode = 'free';
    }
  }

  /** Set the window as the mode wants it. */
  private _place(): void {
    const { extent } = this._store;
    if (!extent) {
      return;
    }
    const end = this.isLive ? Math.max(extent.end, this.now) : extent.end;
    if (this._mode === 'fit') {
      const start = this._summary
        ? Math.min(extent.start, this._summary.start)
        : extent.start;
      this._window = fitted(start, end);
    } else if (this._mode === 'follow') {
      const seconds = this._window.end - this._window.start;
      this._window = { start: end - seconds * 0.98, end: end + seconds * 0.02 };
    }
  }

  /** One request at a time; a call in the meantime makes another one follow. */
  private async _run(): Promise<void> {
    this._wanted += 1;
    this._running ??= this._requests().finally(() => {
      this._running = null;
    });
    await this._running;
  }

  private async _requests(): Promise<void> {
    let served;
    do {
      served = this._wanted;
      await this._request();
    } while (served !== this._wanted && !this._disposed);
  }

  private async _request(): Promise<void> {
    const reload =
      this._reloadDue ||
      this._page === null ||
      this._store.isBinned ||
      this._store.size > MOST_IN_MEMORY;
    this._reloadDue = false;
    const filter = this._filter;
    try {
      const page = await this._api.page(this._query(reload));
      if (filter !== this._filter || this._disposed) {
        return; // the next request is for the new filter
      }
      this._receive(page, reload);
      this._problem = '';
    } catch (reason) {
      this._problem = reason instanceof Error ? reason.message : String(reason);
      this._reloadDue = true;
    }
    if (!this._disposed) {
      this._changed.emit();
    }
  }

  private _query(reload: boolean): ITimelineQuery {
    const whole = this._mode === 'fit' || !this._store.isBinned;
    const { start, end } = this._window;
    const room = (end - start) / 2;
    const due =
      reload || performance.now() - this._summaryAt > SUMMARY_INTERVAL * 1000;
    return {
      ...this._filter,
      ...(whole ? {} : { since: Math.max(0, start - room), until: end + room }),
      ...(reload ? { columns: this._width * (whole ? 1 : 2) } : {}),
      after: reload ? 0 : (this._page?.last ?? 0),
      most: MOST_SPANS,
      summary: due
    };
  }

  private _receive(page: ITimelinePage, reload: boolean): void {
    const restarted = this._page !== null && this._page.epoch !== page.epoch;
    if (restarted && !reload) {
      this._reloadDue = true;
      this._wanted += 1;
      this._page = null;
      return;
    }
    const kept = this._selected;
    if (reload) {
      this._store.clear();
    }
    this._store.add(page);
    this._page = page;
    this._hubNow = page.now;
    this._receivedAt = performance.now();
    this._loadedAt = new Date();
    if (
      page.summary &&
      !(this._store.isBinned && this._mode !== 'fit' && this._summary)
    ) {
      this._summary = page.summary;
      this._summaryAt = this._receivedAt;
    }
    if (page.more) {
      this._wanted += 1;
    }
    if (kept && (reload || kept.outcome === 'running')) {
      this._selected =
        this.find(kept.call.number, kept.index, kept.attempt) ?? kept;
    }
    this._place();
  }

  private _loadWindowSoon(): void {
    clearTimeout(this._timer);
    this._timer = window.setTimeout(() => void this.reload(), 200);
  }

  private readonly _api: ITimelineApi;
  private readonly _store = new LaneStore();
  private readonly _changed = new Signal<this, void>(this);
  private _filter: IFilter = {};
  private _window: IWindow = { start: 0, end: 1 };
  private _mode: Mode = 'fit';
  private _selected: ISpan | null = null;
  private _summary: ITimelineSummary | null = null;
  private _page: ITimelinePage | null = null;
  private _problem = '';
  private _loadedAt: Date | null = null;
  private _hubNow = 0;
  private _receivedAt = 0;
  private _summaryAt = 0;
  private _width = 800;
  private _wanted = 0;
  private _reloadDue = false;
  private _running: Promise<void> | null = null;
  private _timer = 0;
  private _disposed = false;
}

function closest(spans: readonly ISpan[], time: number): ISpan | null {
  let best: ISpan | null = null;
  for (const span of spans) {
    if (
      !best ||
      Math.abs(span.started - time) < Math.abs(best.started - time)
    ) {
      best = span;
    }
  }
  return best;
}
