/**
 * What is known of the hub: the overview, which events keep current, and changes by the user that the hub has not
 * confirmed yet. The overview is fetched only where events do not suffice: at first, after a gap between two events,
 * and when no event arrives; never while no view shows it or the page is hidden.
 */
import { VDomModel } from '@jupyterlab/ui-components';
import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import { Debouncer } from '@lumino/polling';
import { Signal, type ISignal } from '@lumino/signaling';

import { ignoreDisposal } from './debouncer';
import type { IApi } from './api';
import { applyChange } from './applyChange';
import type {
  Connection,
  IAutoscaler,
  ICallRow,
  IFunctionRow,
  IOverview,
  IOverviewChange,
  IOverviewReply
} from './schema';

/** Milliseconds after the last click until the number of warm workers is sent. */
export const DEBOUNCE = 350;
/** Milliseconds without an event after which the overview is fetched; the server sends one every four seconds. */
export const SILENCE = 10_000;

const ENDED = new Set(['succeeded', 'failed', 'cancelled']);

/** An error; `subject` is the id of a row, or 'hub'. */
export interface IProblem {
  subject: string;
  message: string;
}

/** An App and its Functions. */
export interface IAppGroup {
  app: string;
  functions: IFunctionRow[];
}

/** Emits `stateChanged` when any property may have changed. */
export class HubModel extends VDomModel {
  constructor(api: IApi) {
    super();
    this._api = api;
  }

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

  /** The error of a row, or of 'hub'; null if there is none. */
  problem(subject: string): IProblem | null {
    return this._problems.find(problem => problem.subject === subject) ?? null;
  }

  /** Errors whose row is not shown. */
  get unattachedProblems(): IProblem[] {
    const shown = new Set([
      ...(this._overview?.functions ?? []).map(row => row.id),
      ...this.runningCalls.map(call => call.id)
    ]);
    return this._problems.filter(problem => !shown.has(problem.subject));
  }

  /** Apps and their Functions, both sorted by name. */
  get apps(): IAppGroup[] {
    const groups = new Map<string, IFunctionRow[]>();
    for (const row of this._overview?.functions ?? []) {
      groups.set(row.app, [...(groups.get(row.app) ?? []), row]);
    }
    return [...groups.entries()]
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([app, functions]) => ({
        app,
        functions: functions.sort((a, b) => a.name.localeCompare(b.name))
      }));
  }

  /** Unfinished calls, the newest first. */
  get runningCalls(): ICallRow[] {
    return (this._overview?.calls ?? [])
      .filter(
        call => !['succeeded', 'failed', 'cancelled'].includes(call.state)
      )
      .sort((a, b) => b.started - a.started);
  }

  /** The number of warm workers to show: the user's until the hub has responded. */
  warm(row: IFunctionRow): number {
    return this._pending.get(row.id) ?? row.min_containers;
  }

  isCancelling(callId: string): boolean {
    return this._cancelling.has(callId);
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

  /** Show a number of warm workers at once, and send it after the last click. */
  setWarm(functionId: string, value: number): void {
    this._pending.set(functionId, Math.max(0, Math.trunc(value)));
    this._changed();
    this._warmSender(functionId).invoke().catch(ignoreDisposal);
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

  async cancel(callId: string): Promise<void> {
    this._cancelling.add(callId);
    this._changed();
    try {
      await this._api.cancelCall(callId);
      this.dismiss(callId);
    } catch (reason) {
      this._cancelling.delete(callId);
      this._report(callId, reason);
    }
  }

  async startHub(): Promise<void> {
    this._starting = true;
    this._changed();
    try {
      await this._api.startHub();
      this.dismiss('hub');
    } catch (reason) {
      this._report('hub', reason);
    }
    this._starting = false;
    await this.refresh();
  }

  /** Remove the error of a row. */
  dismiss(subject: string): void {
    this._problems = this._problems.filter(
      problem => problem.subject !== subject
    );
    this._changed();
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    for (const sender of this._warmSenders.values()) {
      sender.dispose();
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
      this._dropFinished(reply.overview);
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
      this._dropFinished(this._overview ?? known);
      this._changed();
    }
  }

  private _heard(change: IOverviewChange): void {
    this._heardAt = performance.now();
    this._connection = change.connection;
    this._message = change.message;
  }

  /** Drop the state of finished calls. */
  private _dropFinished(overview: IOverview): void {
    if (this._cancelling.size === 0) {
      return;
    }
    const calls = overview.calls.filter(call => !ENDED.has(call.state));
    const ids = new Set(calls.map(call => call.id));
    for (const id of this._cancelling) {
      if (!ids.has(id)) {
        this._cancelling.delete(id);
      }
    }
  }

  /** The debouncer that sends the number of warm workers of a Function. */
  private _warmSender(functionId: string): Debouncer<void> {
    const known = this._warmSenders.get(functionId);
    if (known) {
      return known;
    }
    const made = new Debouncer(() => this._sendWarm(functionId), DEBOUNCE);
    this._warmSenders.set(functionId, made);
    return made;
  }

  private async _sendWarm(functionId: string): Promise<void> {
    const pending = this._pending.get(functionId);
    if (pending === undefined) {
      return;
    }
    try {
      const change = { min_containers: pending };
      this.applyAutoscaler(
        functionId,
        await this._api.setAutoscaler(functionId, change)
      );
      this.dismiss(functionId);
    } catch (reason) {
      this._report(functionId, reason);
    }
    // A click during the request has stored a newer number, which is sent later.
    if (this._pending.get(functionId) === pending) {
      this._pending.delete(functionId);
    }
    this._changed();
  }

  private _report(subject: string, reason: unknown): void {
    const others = this._problems.filter(
      problem => problem.subject !== subject
    );
    this._problems = [...others, { subject, message: messageOf(reason) }];
    this._changed();
  }

  private _changed(): void {
    if (!this.isDisposed) {
      this.stateChanged.emit();
    }
  }

  private readonly _api: IApi;
  private readonly _disposed = new Signal<this, void>(this);
  private _observers = 0;
  private readonly _pending = new Map<string, number>();
  private readonly _warmSenders = new Map<string, Debouncer<void>>();
  private readonly _cancelling = new Set<string>();
  private _connection: Connection | null = null;
  private _message = '';
  private _overview: IOverview | null = null;
  private _heardAt = -Infinity;
  private _isBehind = true;
  private _nextCheck: Date | null = null;
  private _paused = false;
  private _early: IOverviewChange[] = [];
  private _problems: IProblem[] = [];
  private _starting = false;
  private _fetching: Promise<void> | null = null;
  private _requestedRefreshes = 0;
}

function messageOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
