/**
 * What the sidebar shows, without React: the last overview, how old it is, and the user's own
 * changes that the hub has not confirmed yet.
 */
import { VDomModel } from '@jupyterlab/ui-components';
import { Debouncer } from '@lumino/polling';

import type {
  Connection,
  IApi,
  IAutoscaler,
  ICallRow,
  IFunctionRow,
  IOverview
} from './tokens';

/** Milliseconds without a further click before a warm number is sent. */
export const DEBOUNCE = 350;

/** Something that did not work; `subject` is the id of a row, or 'hub'. */
export interface IProblem {
  subject: string;
  message: string;
}

/** One app and its functions, both sorted by name. */
export interface IAppGroup {
  app: string;
  functions: IFunctionRow[];
}

/** Emits `stateChanged` whenever anything below may have changed. */
export class Model extends VDomModel {
  constructor(api: IApi) {
    super();
    this._api = api;
  }

  /** null until the first answer. */
  get connection(): Connection | null {
    return this._connection;
  }

  /** One sentence on the connection; empty when all is well. */
  get message(): string {
    return this._message;
  }

  /** The last overview there was, also when it is stale. */
  get overview(): IOverview | null {
    return this._overview;
  }

  /** When the overview was fetched. */
  get asOf(): Date | null {
    return this._asOf;
  }

  /** Whether the overview is from before the connection was lost. */
  get isStale(): boolean {
    return this._overview !== null && this._connection !== 'running';
  }

  get isStarting(): boolean {
    return this._starting;
  }

  /** What went wrong with a row, or 'hub'; null when nothing did. */
  problem(subject: string): IProblem | null {
    return this._problems.find(problem => problem.subject === subject) ?? null;
  }

  /** Problems whose row is not shown (any more). */
  get strayProblems(): IProblem[] {
    const shown = new Set([
      ...(this._overview?.functions ?? []).map(row => row.id),
      ...this.runningCalls.map(call => call.id)
    ]);
    return this._problems.filter(problem => !shown.has(problem.subject));
  }

  /** The tree of the Functions section. */
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

  /** Calls that are not finished, the youngest first. */
  get runningCalls(): ICallRow[] {
    return (this._overview?.calls ?? [])
      .filter(call => call.status === 'running' || call.status === 'pending')
      .sort((a, b) => a.age - b.age);
  }

  /** The warm number to show: the user's own until the hub has answered. */
  warm(row: IFunctionRow): number {
    return this._pending.get(row.id) ?? row.min_containers;
  }

  isCancelling(callId: string): boolean {
    return this._cancelling.has(callId);
  }

  /** Fetch the overview; a call while one is under way makes it fetch once more afterwards. */
  refresh(): Promise<void> {
    this._wishes += 1;
    this._fetching ??= this._fetchAll().finally(() => {
      this._fetching = null;
    });
    return this._fetching;
  }

  /** Show a new warm number at once and send it when the clicks have stopped. */
  setWarm(functionId: string, value: number): void {
    this._pending.set(functionId, Math.max(0, Math.trunc(value)));
    this._changed();
    void this._sender(functionId).invoke();
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
    await this.refresh();
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

  /** Take away what was reported about a row. */
  dismiss(subject: string): void {
    this._problems = this._problems.filter(
      problem => problem.subject !== subject
    );
    this._changed();
  }

  override dispose(): void {
    for (const sender of this._senders.values()) {
      sender.dispose();
    }
    super.dispose();
  }

  private async _fetchAll(): Promise<void> {
    let granted;
    do {
      granted = this._wishes;
      await this._fetch();
    } while (granted !== this._wishes && !this.isDisposed);
  }

  private async _fetch(): Promise<void> {
    try {
      const reply = await this._api.overview();
      this._connection = reply.connection;
      this._message = reply.message;
      if (reply.connection === 'running' && reply.overview) {
        this._overview = reply.overview;
        this._asOf = new Date();
        this._forgetDone(reply.overview);
      }
    } catch (reason) {
      this._connection = 'unreachable';
      this._message = sentence(reason);
    }
    this._changed();
  }

  /** Drop notes about calls that are over. */
  private _forgetDone(overview: IOverview): void {
    const ids = new Set(overview.calls.map(call => call.id));
    for (const id of this._cancelling) {
      if (!ids.has(id)) {
        this._cancelling.delete(id);
      }
    }
  }

  /** What sends the warm number of a Function. */
  private _sender(functionId: string): Debouncer<void> {
    const known = this._senders.get(functionId);
    if (known) {
      return known;
    }
    const made = new Debouncer(() => this._sendWarm(functionId), DEBOUNCE);
    this._senders.set(functionId, made);
    return made;
  }

  private async _sendWarm(functionId: string): Promise<void> {
    const pending = this._pending.get(functionId);
    if (pending === undefined) {
      return;
    }
    try {
      this._apply(functionId, await this._api.setWarm(functionId, pending));
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

  /** Put the settings that the hub has made into their row of the overview. */
  private _apply(functionId: string, settings: IAutoscaler): void {
    const row = this._overview?.functions.find(each => each.id === functionId);
    if (row) {
      Object.assign(row, settings);
    }
  }

  private _report(subject: string, reason: unknown): void {
    const others = this._problems.filter(
      problem => problem.subject !== subject
    );
    this._problems = [...others, { subject, message: sentence(reason) }];
    this._changed();
  }

  private _changed(): void {
    if (!this.isDisposed) {
      this.stateChanged.emit();
    }
  }

  private readonly _api: IApi;
  private readonly _pending = new Map<string, number>();
  private readonly _senders = new Map<string, Debouncer<void>>();
  private readonly _cancelling = new Set<string>();
  private _connection: Connection | null = null;
  private _message = '';
  private _overview: IOverview | null = null;
  private _asOf: Date | null = null;
  private _problems: IProblem[] = [];
  private _starting = false;
  private _fetching: Promise<void> | null = null;
  private _wishes = 0;
}

function sentence(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
