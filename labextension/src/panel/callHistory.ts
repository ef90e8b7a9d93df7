/** Ended calls: pages from the server, and calls that ended while the page was open. */
import { Signal, type ISignal } from '@lumino/signaling';

import type { ICallRow, ICallsPage, ICallsQuery } from '../model/schema';
import { messageOf } from '../model/problems';

/** Calls in one page. */
export const PAGE = 50;

interface IHistoryRequests {
  calls(query: ICallsQuery): Promise<ICallsPage>;
}

export class CallHistory {
  constructor(api: IHistoryRequests) {
    this._api = api;
  }

  /** Emits when a page has arrived, or failed to. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** The calls known so far, the newest first. */
  get calls(): readonly ICallRow[] {
    this._sorted ??= [...this._calls.values()].sort(
      (a, b) => b.started - a.started
    );
    return this._sorted;
  }

  get isLoading(): boolean {
    return this._isLoading;
  }

  /** Whether the server has no older calls. */
  get isComplete(): boolean {
    return this._isComplete;
  }

  /** Why the last page did not arrive. */
  get error(): string | null {
    return this._error;
  }

  /** Take the newest rows of calls. */
  update(calls: readonly ICallRow[]): void {
    for (const call of calls) {
      if (this._calls.get(call.id) !== call) {
        this._calls.set(call.id, call);
        this._sorted = null;
      }
    }
  }

  /** Forget all calls, and show only those whose name, id or notebook contains a text. */
  reset(search: string): void {
    this._search = search;
    this._calls.clear();
    this._sorted = null;
    this._next = '';
    this._isComplete = this._isLoading = false;
    this._error = null;
    this._generation += 1;
    this._changed.emit();
  }

  /** Fetch the next page. */
  async loadMore(): Promise<void> {
    if (this._isLoading || this._isComplete) {
      return;
    }
    const generation = this._generation;
    this._isLoading = true;
    this._error = null;
    this._changed.emit();
    try {
      const page = await this._api.calls({
        limit: PAGE,
        search: this._search,
        before: this._next
      });
      if (generation === this._generation) {
        this._add(page);
      }
    } catch (reason) {
      if (generation === this._generation) {
        this._error = messageOf(reason);
      }
    }
    if (generation === this._generation) {
      this._isLoading = false;
      this._changed.emit();
    }
  }

  dispose(): void {
    this._generation += 1;
    Signal.clearData(this);
  }

  /** Add a page. A call that is known already has the newer row, which the server has pushed. */
  private _add(page: ICallsPage): void {
    this.update(page.calls.filter(call => !this._calls.has(call.id)));
    this._isComplete = page.next === null;
    this._next = page.next ?? '';
  }

  private readonly _api: IHistoryRequests;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _calls = new Map<string, ICallRow>();
  private _sorted: readonly ICallRow[] | null = null;
  private _search = '';
  private _next = '';
  private _isLoading = false;
  private _isComplete = false;
  private _error: string | null = null;
  private _generation = 0;
}
