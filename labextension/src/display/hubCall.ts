/** The state of one call at the hub, for a display whose kernel does not answer. */
import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import { RequestError } from '../model/request';
import type { ICallDetails, ILogRow, ILogsPage } from '../model/schema';
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
  /** A text that differs whenever the row of a call has changed; null without a row. */
  mark(call: string): string | null;
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

  /** null until the hub has answered, and if it does not know the call. */
  get details(): ICallDetails | null {
    return this._details;
  }

  /** When the details were received, in milliseconds since 1970. */
  get receivedAt(): number {
    return this._receivedAt;
  }

  /** Whether the last request succeeded, and the hub still answers. */
  get isLive(): boolean {
    return this._details !== null && !this._problem && this._rows.isConnected;
  }

  /** Whether the hub has answered that it does not know the call. */
  get isUnknown(): boolean {
    return this._isUnknown;
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
    this._mark = this._rows.mark(this.id);
    this._requestedAt = Date.now();
    try {
      this._details = await this._requests.details(this.id);
      this._receivedAt = Date.now();
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
    const mark = this._rows.mark(this.id);
    const connected = this._rows.isConnected;
    const missed = connected && this._problem !== '' && !this._isUnknown;
    if (mark !== this._mark || missed) {
      this._refreshSoon();
    } else if (this._wasConnected !== connected) {
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
  private _receivedAt = 0;
  private _requestedAt = 0;
  private _problem = '';
  private _mark: string | null = null;
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
