/** The state of one call at the hub, for a display whose kernel does not answer. */
import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import { RequestError } from '../model/request';
import type {
  ICallDetails,
  ICallRow,
  ILogRow,
  ILogsPage
} from '../model/schema';
import type { ICallRequests } from './callRequests';

/** Milliseconds between two requests of details while the call changes. */
const DETAILS_INTERVAL = 1000;
/** Seconds that a request for further output waits at the server. */
const LOG_WAIT = 20;
/** Lines of output that are kept. */
const MOST_LINES = 500;

/** What of the hub's model a display needs. */
export interface ICallRows {
  /** Emits when a row may have changed. */
  readonly changed: ISignal<unknown, unknown>;
  /** Whether the hub answers. */
  readonly isConnected: boolean;
  /** The row of a call; null if it is not among the recent calls. The same object as long as nothing changes. */
  row(call: string): ICallRow | null;
  /** The time on the hub's clock, in seconds since 1970. */
  now(): number;
  /** Receive changes until the result is disposed. */
  observe(): IDisposable;
}

/** Whether a call is over in this state. */
export function isOver(state: string): boolean {
  return state === 'succeeded' || state === 'failed' || state === 'cancelled';
}

/** Emits `changed` when anything that it shows has changed. */
export class HubCall implements IDisposable {
  constructor(
    readonly id: string,
    private readonly _rows: ICallRows,
    private readonly _requests: ICallRequests
  ) {
    this._observation = _rows.observe();
    _rows.changed.connect(this._onRows, this);
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** The newest row; null until the hub has answered, and if it does not know the call. */
  get row(): ICallRow | null {
    return this._rows.row(this.id) ?? this._details?.call ?? null;
  }

  /** Result, errors and the like; null until the hub has answered. */
  get details(): ICallDetails | null {
    return this._details;
  }

  /** When the row was current, in milliseconds since 1970. */
  get asOf(): number {
    return this._asOf;
  }

  /** The seconds that the call has taken. */
  get seconds(): number {
    const row = this.row;
    const now = this.isLive ? this._rows.now() : this._asOf / 1000;
    return row ? Math.max(0, (row.ended ?? now) - row.started) : 0;
  }

  /** The inputs that a retry would run. */
  get retriable(): number {
    const row = this.row;
    if (!row?.durable) {
      return 0;
    }
    const all = row.failed + row.cancelled + row.not_run;
    return Math.min(all, this._details?.retriable ?? all);
  }

  /** Whether the hub answers, so that the row is current. */
  get isLive(): boolean {
    const known = this._rows.row(this.id) !== null || !this._problem;
    return this._rows.isConnected && known;
  }

  /** Whether the hub has answered that it does not know the call. */
  get isUnknown(): boolean {
    return this._isUnknown && this._rows.isConnected;
  }

  /** Why the last request failed; empty if it succeeded. */
  get problem(): string {
    return this._problem;
  }

  /** The last lines that the call printed. */
  get lines(): readonly ILogRow[] {
    return this._lines;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      window.clearTimeout(this._timer);
      this._rows.changed.disconnect(this._onRows, this);
      this._observation.dispose();
      Signal.clearData(this);
    }
  }

  /** Request the details now. */
  async refresh(): Promise<void> {
    this._seen = this._rows.row(this.id);
    this._requestedAt = Date.now();
    try {
      this._details = await this._requests.details(this.id);
      this._asOf = Date.now();
      this._problem = '';
      this._isUnknown = false;
    } catch (reason) {
      this._isUnknown = reason instanceof RequestError && reason.status === 404;
      this._problem = reason instanceof Error ? reason.message : String(reason);
    }
    this._emit();
  }

  /** Request the output, and further output while the call runs. */
  async follow(): Promise<void> {
    this._wantsOutput = true;
    if (this._follows) {
      return;
    }
    this._follows = true;
    try {
      for (let ended = false; !ended && !this._isDisposed;) {
        const page = await this._requests.logs(this.id, this._after, LOG_WAIT);
        ended = page.ended && !page.more;
        this._add(page);
        await untilVisible();
      }
    } catch {
      // The details show that the hub does not answer; its return continues this.
    }
    this._follows = false;
  }

  private _add(page: ILogsPage): void {
    this._after = Math.max(page.last, 1);
    if (page.lines.length) {
      this._lines = [...this._lines, ...page.lines].slice(-MOST_LINES);
      this._emit();
    }
  }

  async cancel(): Promise<void> {
    await this._requests.cancel(this.id);
    await this.refresh();
  }

  /** Run the inputs without a result again; returns their number. */
  async retry(): Promise<number> {
    const count = await this._requests.retry(this.id);
    await this.refresh();
    return count;
  }

  private _onRows(): void {
    const row = this._rows.row(this.id);
    const connected = this._rows.isConnected;
    if (connected && row !== null) {
      this._asOf = Date.now();
    }
    const missed = connected && this._problem !== '' && !this._isUnknown;
    const isNew = row !== this._seen;
    if (isNew || missed) {
      this._seen = row;
      this._refreshSoon();
    }
    if (isNew || this._wasConnected !== connected) {
      this._emit();
    }
    this._wasConnected = connected;
  }

  private _refreshSoon(): void {
    window.clearTimeout(this._timer);
    const due = this._requestedAt + DETAILS_INTERVAL - Date.now();
    const refresh = (): void => {
      void this.refresh();
      if (this._wantsOutput) {
        void this.follow();
      }
    };
    this._timer = window.setTimeout(refresh, Math.max(0, due));
  }

  private _emit(): void {
    if (!this._isDisposed) {
      this._changed.emit();
    }
  }

  private readonly _observation: IDisposable;
  private readonly _changed = new Signal<this, void>(this);
  private _details: ICallDetails | null = null;
  private _asOf = Date.now();
  private _requestedAt = 0;
  private _problem = '';
  private _seen: ICallRow | null = null;
  private _wasConnected = true;
  private _lines: ILogRow[] = [];
  private _after = 0;
  private _wantsOutput = false;
  private _follows = false;
  private _isUnknown = false;
  private _isDisposed = false;
  private _timer = 0;
}

/** Wait until the page is visible. */
async function untilVisible(): Promise<void> {
  while (document.visibilityState === 'hidden') {
    await new Promise<void>(resolve => {
      document.addEventListener('visibilitychange', () => resolve(), {
        once: true
      });
    });
  }
}
