/** Follows the log of a Function, call or worker: the last lines, then new ones as they arrive. */
import { VDomModel } from '@jupyterlab/ui-components';

import type { Api } from '../model/api';
import type { ILogRow, ILogsPage, ILogsQuery } from '../model/schema';

/** Lines that are fetched at first, and the most that are kept. */
const FIRST = 2000;
const MOST = 50_000;

/** Seconds that the server waits for new lines. */
const WAIT = 20;

/** Milliseconds before a failed request is repeated; doubled each time. */
const RETRY = { first: 500, most: 15_000 };

export type LogSource = 'all' | 'stdout' | 'stderr' | 'system';

export class LogModel extends VDomModel {
  constructor(
    private readonly _api: Pick<Api, 'logs'>,
    readonly filter: ILogsQuery
  ) {
    super();
  }

  /** The lines that match search, source and input. */
  get lines(): readonly ILogRow[] {
    this._matching ??= this._lines.filter(line => this._matches(line));
    return this._matching;
  }

  /** How many lines there are, whether they match or not. */
  get total(): number {
    return this._lines.length;
  }

  /** Whether earlier lines were dropped or not fetched. */
  get isTruncated(): boolean {
    return this._isTruncated;
  }

  /** Whether no more lines will follow. */
  get isEnded(): boolean {
    return this._isEnded;
  }

  /** The error of the last request; empty if it succeeded. */
  get error(): string {
    return this._error;
  }

  get isPaused(): boolean {
    return this._isPaused;
  }

  set isPaused(value: boolean) {
    this._isPaused = value;
    this._decide();
    this._changed();
  }

  get search(): string {
    return this._search;
  }

  set search(value: string) {
    this._search = value;
    this._filterAgain();
  }

  get source(): LogSource {
    return this._source;
  }

  set source(value: LogSource) {
    this._source = value;
    this._filterAgain();
  }

  /** The index of the only input to show; null for all. */
  get index(): number | null {
    return this._index;
  }

  set index(value: number | null) {
    this._index = value;
    this._filterAgain();
  }

  /** Whether a visible view shows the log; otherwise nothing is fetched. */
  set isVisible(value: boolean) {
    this._isVisible = value;
    this._decide();
  }

  /** Hide the lines of now; new ones are shown. */
  clear(): void {
    this._lines = [];
    this._isTruncated = true;
    this._filterAgain();
  }

  override dispose(): void {
    this._request?.abort();
    super.dispose();
  }

  /** Start to follow, or stop, as the state says. */
  private _decide(): void {
    const wanted = this._isVisible && !this._isPaused && !this._isEnded;
    if (!wanted) {
      this._request?.abort();
      this._request = null;
    } else if (!this._request) {
      this._request = new AbortController();
      void this._follow(this._request.signal);
    }
  }

  private async _follow(signal: AbortSignal): Promise<void> {
    let delay = RETRY.first;
    while (!signal.aborted) {
      try {
        this._take(await this._fetch(signal), signal);
        delay = RETRY.first;
      } catch (reason) {
        this._fail(reason, signal);
        await sleep(delay, signal);
        delay = Math.min(2 * delay, RETRY.most);
      }
    }
  }

  private _fail(reason: unknown, signal: AbortSignal): void {
    if (!signal.aborted) {
      this._error = reason instanceof Error ? reason.message : String(reason);
      this._changed();
    }
  }

  private _fetch(signal: AbortSignal): Promise<ILogsPage> {
    const place =
      this._last === null ? { tail: FIRST } : { after: this._last, wait: WAIT };
    return this._api.logs({ ...this.filter, ...place }, signal);
  }

  private _take(page: ILogsPage, signal: AbortSignal): void {
    if (signal.aborted) {
      return;
    }
    const isFirst = this._last === null;
    const isRecovered = this._error !== '';
    this._isTruncated ||= isFirst && page.lines.length >= FIRST;
    this._last = page.last;
    this._error = '';
    this._isEnded = page.ended;
    this._append(page.lines);
    if (page.ended) {
      this._decide();
    }
    if (isFirst || isRecovered || page.ended || page.lines.length > 0) {
      this._changed();
    }
  }

  private _append(lines: readonly ILogRow[]): void {
    this._lines.push(...lines);
    const excess = this._lines.length - MOST;
    if (excess > 0) {
      this._lines.splice(0, excess);
      this._isTruncated = true;
    }
    this._matching = null;
  }

  private _filterAgain(): void {
    this._matching = null;
    this._changed();
  }

  private _matches(line: ILogRow): boolean {
    return (
      (this._source === 'all' || line.source === this._source) &&
      (this._index === null || line.index === this._index) &&
      line.message.toLowerCase().includes(this._search.toLowerCase())
    );
  }

  private _changed(): void {
    if (!this.isDisposed) {
      this.stateChanged.emit();
    }
  }

  private _lines: ILogRow[] = [];
  private _matching: ILogRow[] | null = null;
  private _last: number | null = null;
  private _isTruncated = false;
  private _isEnded = false;
  private _error = '';
  private _isPaused = false;
  private _isVisible = false;
  private _search = '';
  private _source: LogSource = 'all';
  private _index: number | null = null;
  private _request: AbortController | null = null;
}

/** Resolve after a time, or when the signal is aborted. */
function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
