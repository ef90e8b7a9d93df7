/**
 * What is known of the hub: the overview, which events keep current, and changes by the user that the hub has not
 * confirmed yet. The overview is fetched only where events do not suffice: at first, after a gap between two events,
 * and when no event arrives; never while no view shows it or the page is hidden.
 */
import { VDomModel } from '@jupyterlab/ui-components';
import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { IApi } from './api';
import { applyChange } from './applyChange';
import { messageOf, Problems } from './problems';
import type {
  Connection,
  IAutoscaler,
  IOverview,
  IOverviewChange,
  IOverviewReply
} from './schema';

/** Milliseconds without an event after which the overview is fetched; the server sends one every four seconds. */
export const SILENCE = 10_000;

/** Emits `stateChanged` when any property may have changed. */
export class HubModel extends VDomModel {
  constructor(api: IApi) {
    super();
    this._api = api;
  }

  /** Errors of actions, of all views; it has a signal of its own. */
  readonly problems = new Problems();

  /** null until the first response. */
  get connection(): Connection | null {
    return this._connection;
  }

  /** A sentence about the connection; empty if there is no error. */
  get message(): string {
    return this._message;
  }

  /** The last overview, which may be stale. */
  get overview(): IOverview | null {
    return this._overview;
  }

  /** The time of the overview: now, while the connection lasts. */
  get fetchedAt(): Date | null {
    return this._overview && new Date(this._overview.now * 1000);
  }

  /** The time on the hub's clock, in seconds since 1970; the time of the overview if that is stale. */
  get now(): number {
    if (!this._overview) {
      return Date.now() / 1000;
    }
    const since = (performance.now() - this._heardAt) / 1000;
    return this._overview.now + (this.isStale ? 0 : since);
  }

  /** Whether the overview is from before the connection was lost. */
  get isStale(): boolean {
    return this._overview !== null && this._connection !== 'running';
  }

  /** When the server is asked again, after it has not responded; null otherwise. */
  get retryAt(): Date | null {
    const isWaiting = this._connection === 'unreachable' && this._isBehind;
    return isWaiting ? this._nextCheck : null;
  }

  /** Set when `catchUp` is called next. */
  set nextCheck(time: Date) {
    this._nextCheck = time;
  }

  get isStarting(): boolean {
    return this._starting;
  }

  /** Whether a visible view shows the model; otherwise nothing is fetched. */
  get isObserved(): boolean {
    return this._observers > 0;
  }

  /** Whether the page is hidden; then nothing is fetched. */
  get isPaused(): boolean {
    return this._paused;
  }

  set isPaused(value: boolean) {
    this._paused = value;
    this.catchUp();
  }

  /** Emits when the model is disposed. */
  get disposed(): ISignal<this, void> {
    return this._disposed;
  }

  /** Keep the overview current until the result is disposed. A view calls this while it is visible. */
  observe(): IDisposable {
    this._observers += 1;
    this.catchUp();
    return new DisposableDelegate(() => {
      this._observers -= 1;
    });
  }

  /** Fetch the overview if a view shows it and events do not keep it current. */
  catchUp(): void {
    const silent = performance.now() - this._heardAt > SILENCE;
    if (this.isObserved && !this._paused && (this._isBehind || silent)) {
      void this.refresh();
    }
  }

  /** Take an event of the server. */
  receive(change: IOverviewChange): void {
    if (this._fetching) {
      this._early.push(change);
    } else {
      this._take(change);
      this.catchUp();
    }
  }

  /** Fetch the overview; a call during a fetch makes it fetch once more afterwards. */
  refresh(): Promise<void> {
    this._requestedRefreshes += 1;
    this._fetching ??= this._fetchAll().finally(() => {
      this._fetching = null;
    });
    return this._fetching;
  }

  /** Set the number of warm workers of a Function; an error is reported at its row. */
  async setWarm(functionId: string, value: number): Promise<void> {
    await this._try(functionId, async () => {
      const change = { min_containers: value };
      this.applyAutoscaler(
        functionId,
        await this._api.setAutoscaler(functionId, change)
      );
    });
  }

  /** Copy the settings of the hub to the row of the overview; an event may bring them later. */
  applyAutoscaler(functionId: string, settings: IAutoscaler): void {
    if (this._overview) {
      this._overview = {
        ...this._overview,
        functions: this._overview.functions.map(row =>
          row.id === functionId ? { ...row, ...settings } : row
        )
      };
      this._changed();
    }
  }

  /** Cancel a call; an error is reported at its row. */
  async cancel(callId: string): Promise<void> {
    await this._try(callId, () => this._api.cancelCall(callId));
  }

  async startHub(): Promise<void> {
    this._starting = true;
    this._changed();
    await this._try('hub', () => this._api.startHub());
    this._starting = false;
    await this.refresh();
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    super.dispose();
    this._disposed.emit();
    Signal.clearData(this);
  }

  private async _fetchAll(): Promise<void> {
    let served;
    do {
      served = this._requestedRefreshes;
      await this._fetch();
    } while (served !== this._requestedRefreshes && !this.isDisposed);
  }

  private async _fetch(): Promise<void> {
    this._early = [];
    try {
      this._adopt(await this._api.overview());
    } catch (reason) {
      this._connection = 'unreachable';
      this._message = messageOf(reason);
      this._isBehind = true;
    }
    for (const change of this._early.splice(0)) {
      this._take(change);
    }
    this._changed();
  }

  private _adopt(reply: IOverviewReply): void {
    this._connection = reply.connection;
    this._message = reply.message;
    this._isBehind = false;
    this._heardAt = performance.now();
    if (reply.overview) {
      this._overview = reply.overview;
    }
  }

  /** Apply a change, unless it does not continue the overview: then the overview must be fetched. */
  private _take(change: IOverviewChange): void {
    const known = this._overview;
    if (!known && change.connection !== 'running') {
      this._heard(change);
      this._changed();
      return;
    }
    const isOurs = known?.stream === change.stream;
    if (isOurs && change.revision < known.revision) {
      return; // the overview was fetched later
    }
    if (!known || !isOurs || change.previous > known.revision) {
      this._isBehind = true;
      return;
    }
    const isNews =
      change.revision > known.revision ||
      this._connection !== change.connection;
    this._heard(change);
    if (change.connection === 'running' || isNews) {
      this._overview = applyChange(known, change);
    }
    if (isNews) {
      this._changed();
    }
  }

  private _heard(change: IOverviewChange): void {
    this._heardAt = performance.now();
    this._connection = change.connection;
    this._message = change.message;
  }

  private async _try(
    subject: string,
    action: () => Promise<void>
  ): Promise<void> {
    try {
      await action();
      this.problems.dismiss(subject);
    } catch (reason) {
      this.problems.report(subject, reason);
    }
  }

  private _changed(): void {
    if (!this.isDisposed) {
      this.stateChanged.emit();
    }
  }

  private readonly _api: IApi;
  private readonly _disposed = new Signal<this, void>(this);
  private _observers = 0;
  private _connection: Connection | null = null;
  private _message = '';
  private _overview: IOverview | null = null;
  private _heardAt = -Infinity;
  private _isBehind = true;
  private _nextCheck: Date | null = null;
  private _paused = false;
  private _early: IOverviewChange[] = [];
  private _starting = false;
  private _fetching: Promise<void> | null = null;
  private _requestedRefreshes = 0;
}
