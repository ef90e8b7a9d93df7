/**
 * What the panel shows beyond the rows of the hub: filter, open rows, forms, errors, and changes that the hub has not
 * confirmed yet.
 */
import { VDomModel } from '@jupyterlab/ui-components';
import { Debouncer } from '@lumino/polling';
import type { ISignal } from '@lumino/signaling';

import { ignoreDisposal } from '../model/debouncer';
import type {
  Connection,
  IAutoscaler,
  ICallDetails,
  ICallRow,
  IFunctionRow,
  IHealth,
  ILogRow,
  IOverview,
  IVersionRow,
  IWorkerRow
} from '../model/schema';
import { CallForm } from './callForm';
import { CallHistory } from './callHistory';
import { Fetched } from './fetched';
import { Filter } from './filter';
import type { Problems } from '../model/problems';
import type { IPanelApi } from './requests';
import { isOver } from './states';
import { WarmChanges } from './warmChanges';

/** Milliseconds after the last typed letter until the history is searched. */
const SEARCH_DELAY = 300;
/** Milliseconds between two fetches of the details of a call that runs. */
const DETAILS_INTERVAL = 1000;
/** The subject of actions on the hub, and of their errors. */
const HUB = 'hub';
/** Lines of the log under a call. */
const LOG_LINES = 8;

/** The part of the hub's model that the panel uses. */
export interface IHubData {
  readonly connection: Connection | null;
  readonly message: string;
  readonly overview: IOverview | null;
  readonly fetchedAt: Date | null;
  /** Seconds since 1970 on the clock of the hub; while the data is stale, its time. */
  readonly now: number;
  readonly isStale: boolean;
  /** When the connection is tried again; null while there is one. */
  readonly retryAt: Date | null;
  readonly stateChanged: ISignal<unknown, unknown>;
  refresh(): Promise<void>;
  /** Errors of actions, whichever view has started them. */
  readonly problems: Problems;
  /** Take the settings that the hub has responded with. */
  applyAutoscaler(functionId: string, settings: IAutoscaler): void;
}

/** Emits `stateChanged` when anything that the panel shows may have changed. */
export class PanelModel extends VDomModel {
  constructor(
    readonly hub: IHubData,
    readonly api: IPanelApi
  ) {
    super();
    this.history = new CallHistory(api);
    this.details = new Fetched(id => api.callDetails(id));
    this.versions = new Fetched(async id => (await api.versions(id)).versions);
    this.logs = new Fetched(
      async id => (await api.logs({ call: id, tail: LOG_LINES })).lines
    );
    this.health = new Fetched(() => api.health());
    this.warm = new WarmChanges({
      api,
      onSet: (id, settings) => {
        hub.applyAutoscaler(id, settings);
        this.problems.dismiss(id);
      },
      onRefused: (id, reason) => this.problems.report(id, reason)
    });
    for (const part of this._parts) {
      part.changed.connect(this._emit, this);
    }
    this.filter.searchChanged.connect(() => {
      this._search.invoke().catch(ignoreDisposal);
    });
    hub.stateChanged.connect(this._onHub, this);
    this._onHub();
  }

  readonly filter = new Filter();
  readonly warm: WarmChanges;
  readonly history: CallHistory;
  readonly details: Fetched<ICallDetails>;
  readonly versions: Fetched<readonly IVersionRow[]>;
  readonly logs: Fetched<readonly ILogRow[]>;
  readonly health: Fetched<IHealth>;

  get functions(): readonly IFunctionRow[] {
    return this.hub.overview?.functions ?? [];
  }

  /** The rows that the server has pushed: unfinished calls and the last ended ones. */
  get calls(): readonly ICallRow[] {
    return this.hub.overview?.calls ?? [];
  }

  get workers(): readonly IWorkerRow[] {
    return this.hub.overview?.workers ?? [];
  }

  function(id: string): IFunctionRow | null {
    return this.functions.find(row => row.id === id) ?? null;
  }

  call(id: string): ICallRow | null {
    return (
      this.calls.find(row => row.id === id) ??
      this.history.calls.find(row => row.id === id) ??
      null
    );
  }

  /** Seconds since 1970 on the clock of the hub; while the data is stale, its time. */
  now(): number {
    return this.hub.now;
  }

  /** Whether a group, App or host is closed, or a row is open: whether the user has toggled it. */
  isToggled(key: string): boolean {
    return this._toggled.has(key);
  }

  toggle(key: string): void {
    if (!this._toggled.delete(key)) {
      this._toggled.add(key);
    }
    this._emit();
  }

  /** Open or close the details of a call. */
  toggleCall(id: string): void {
    if (this._toggled.has(id)) {
      this.toggle(id);
    } else {
      this.openCall(id);
    }
  }

  /** Open a call, and fetch its errors and the end of its log. */
  openCall(id: string): void {
    if (!this._toggled.has(id)) {
      this.toggle(id);
    }
    void this.details.load(id);
    void this.logs.load(id);
  }

  /** The row that was revealed last; a new object each time. */
  get revealed(): { key: string } | null {
    return this._revealed;
  }

  /** Scroll to a row, and move the focus to it. */
  reveal(key: string): void {
    this._revealed = { key };
    this._emit();
  }

  /** The open form of a Function. */
  form(functionId: string): CallForm | null {
    return this._forms.get(functionId) ?? null;
  }

  openForm(functionId: string): CallForm {
    const known = this._forms.get(functionId);
    if (known) {
      return known;
    }
    const form = new CallForm(functionId, this.api);
    form.changed.connect(this._onForm, this);
    this._forms.set(functionId, form);
    this._emit();
    return form;
  }

  closeForm(functionId: string): void {
    this._forms.get(functionId)?.dispose();
    this._forms.delete(functionId);
    this._emit();
  }

  showsVersions(functionId: string): boolean {
    return this._versions.has(functionId);
  }

  toggleVersions(functionId: string): void {
    if (!this._versions.delete(functionId)) {
      this._versions.add(functionId);
      void this.versions.load(functionId);
    }
    this._emit();
  }

  /** The action that the server is carrying out for a row; null if there is none. */
  action(subject: string): string | null {
    return this._actions.get(subject) ?? null;
  }

  /**
   * Carry out an action on a row; an error is shown at the row. Returns whether it succeeded.
   */
  async act(
    subject: string,
    name: string,
    action: () => Promise<unknown>
  ): Promise<boolean> {
    if (this._actions.has(subject)) {
      return false;
    }
    this._actions.set(subject, name);
    this._emit();
    let succeeded = true;
    try {
      await action();
      this.problems.dismiss(subject);
      await this.hub.refresh();
    } catch (reason) {
      succeeded = false;
      this.problems.report(subject, reason);
    }
    this._actions.delete(subject);
    this._emit();
    return succeeded;
  }

  /** Errors of actions, whichever view has started them. */
  get problems(): Problems {
    return this.hub.problems;
  }

  /** The error of a row or of 'hub'; null if there is none. */
  problem(subject: string): string | null {
    return this.problems.of(subject);
  }

  dismiss(subject: string): void {
    this.problems.dismiss(subject);
  }

  /** Errors whose row is gone; the header shows them. */
  get unattachedProblems(): readonly string[] {
    return this.problems.subjects.filter(
      subject =>
        this.function(subject) === null &&
        this.call(subject) === null &&
        !this.workers.some(row => row.id === subject)
    );
  }

  get isStarting(): boolean {
    return this.action(HUB) === 'start';
  }

  async startHub(): Promise<void> {
    await this.act(HUB, 'start', () => this.api.startHub());
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this.hub.stateChanged.disconnect(this._onHub, this);
    this.problems.changed.disconnect(this._emit, this);
    for (const form of this._forms.values()) {
      form.dispose();
    }
    window.clearTimeout(this._detailsTimer);
    this._search.dispose();
    this.warm.dispose();
    this.history.dispose();
    for (const part of [this.details, this.versions, this.logs, this.health]) {
      part.dispose();
    }
    super.dispose();
  }

  private get _parts(): { changed: ISignal<unknown, void> }[] {
    return [
      ...[this.problems, this.warm, this.history, this.filter],
      ...[this.details, this.versions, this.logs, this.health]
    ];
  }

  private _onHub(): void {
    this.history.update(this.calls.filter(call => isOver(call.state)));
    this._onForm();
    this._followDetails();
  }

  private _onForm(): void {
    for (const form of this._forms.values()) {
      const call = this.calls.find(row => row.id === form.callId);
      if (call) {
        form.follow(call);
      }
    }
    this._emit();
  }

  /** Fetch the details of open calls whose row has changed, at most once a second. */
  private _followDetails(): void {
    const changed = this.calls.filter(
      call =>
        this._toggled.has(call.id) && this._detailed.get(call.id) !== mark(call)
    );
    if (changed.length === 0 || this._detailsTimer !== undefined) {
      return;
    }
    for (const call of changed) {
      this._detailed.set(call.id, mark(call));
      void this.details.load(call.id);
      void this.logs.load(call.id);
    }
    this._detailsTimer = window.setTimeout(() => {
      this._detailsTimer = undefined;
      this._followDetails();
    }, DETAILS_INTERVAL);
  }

  private _emit(): void {
    if (!this.isDisposed) {
      this.stateChanged.emit();
    }
  }

  private _revealed: { key: string } | null = null;
  private readonly _toggled = new Set<string>();
  private readonly _forms = new Map<string, CallForm>();
  private readonly _versions = new Set<string>();
  private readonly _actions = new Map<string, string>();
  private readonly _detailed = new Map<string, string>();
  private _detailsTimer: number | undefined;
  private readonly _search = new Debouncer(() => {
    this.history.reset(this.filter.search);
    this._onHub();
    void this.history.loadMore();
  }, SEARCH_DELAY);
}

/** Differs when the details of a call may differ. */
function mark(call: ICallRow): string {
  return [call.state, call.failed, call.succeeded, call.cancelled].join();
}
