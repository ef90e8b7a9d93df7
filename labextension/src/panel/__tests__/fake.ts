/** A hub and a server in memory. */
import { Signal } from '@lumino/signaling';

import { Problems } from '../../model/problems';
import type {
  Connection,
  IAutoscaler,
  IAutoscalerChange,
  ICallDetails,
  ICallRequest,
  ICallRow,
  ICallsPage,
  ICallsQuery,
  IFunctionDetails,
  IFunctionRow,
  IHealth,
  ILogsPage,
  IOverview,
  IVersions,
  IWorkerRow
} from '../../model/schema';
import type { IHubData } from '../panelModel';
import type { IPanelApi } from '../requests';
import type { INotebooks } from '../tokens';

/** The hub's clock in the rows. */
export const NOW = 1_790_000_000;

export function functionRow(row: Partial<IFunctionRow> = {}): IFunctionRow {
  const name = row.name ?? 'square';
  return {
    id: `fu-${name}`,
    app: 'notebook',
    app_id: 'ap-1',
    name,
    version: 3,
    kind: 'function',
    purpose: 'function',
    deployed: true,
    owner: '/home/ada/churn.ipynb',
    state: 'idle',
    backlog: 0,
    running: 0,
    workers: 2,
    starting: 0,
    min_containers: 1,
    max_containers: 4,
    buffer_containers: 0,
    scaledown_window: 60,
    p50: 0.52,
    p95: 1.9,
    waiting_for: null,
    web_url: null,
    failed: 0,
    cold_starts: 0,
    called: null,
    schedule: '',
    has_workers: true,
    threads: 1,
    threads_why: '',
    ...row
  };
}

export function callRow(row: Partial<ICallRow> = {}): ICallRow {
  const name = row.function ?? 'embed';
  return {
    id: `fc-${name}`,
    function: name,
    function_id: `fu-${name}`,
    app: 'notebook',
    version: 4,
    kind: 'map',
    purpose: 'function',
    state: 'running',
    total: 1000,
    succeeded: 605,
    failed: 7,
    cancelled: 0,
    running: 8,
    waiting: 380,
    not_run: 0,
    more: false,
    origin: '/home/ada/churn.ipynb',
    started: NOW - 43,
    ended: null,
    durable: true,
    notify: false,
    ...row
  };
}

export function workerRow(row: Partial<IWorkerRow> = {}): IWorkerRow {
  return {
    id: 'wk-3Qz7bAAAA',
    function: 'square',
    function_id: 'fu-square',
    app: 'notebook',
    app_id: 'ap-1',
    state: 'idle',
    host: 'ada-laptop',
    pid: 4301,
    joined: NOW - 192,
    memory: 851_000_000,
    gpus: [],
    session: '',
    ...row
  };
}

export function endedCall(row: Partial<ICallRow> = {}): ICallRow {
  return callRow({
    state: 'succeeded',
    total: 1,
    succeeded: 1,
    failed: 0,
    running: 0,
    waiting: 0,
    kind: 'remote',
    started: NOW - 600,
    ended: NOW - 590,
    ...row
  });
}

export class FakeHub implements IHubData {
  connection: Connection | null = 'running';
  message = '';
  fetchedAt: Date | null = new Date();
  retryAt: Date | null = null;
  refreshes = 0;
  overview: IOverview | null = {
    stream: 's',
    revision: 1,
    now: NOW,
    unfinished: 1,
    hub: {
      pid: 1,
      version: '0.1.0',
      epoch: 1,
      started: NOW - 3725,
      home: '/home/ada/.local/share/nbfn',
      host: 'ada-laptop',
      cpus: 8,
      cpus_used: 3,
      memory: 16e9,
      memory_used: 4e9,
      gpus: 0,
      gpus_used: 0
    },
    functions: [
      functionRow(),
      functionRow({
        name: 'embed',
        app: 'churn',
        kind: 'generator',
        state: 'busy',
        backlog: 331,
        running: 8,
        workers: 8,
        starting: 2,
        max_containers: 10,
        min_containers: 0,
        waiting_for: 'at its limit of 10 workers'
      })
    ],
    calls: [callRow()],
    workers: [workerRow()]
  };
  readonly stateChanged = new Signal<this, void>(this);

  get now(): number {
    const since = this.isStale ? 0 : Date.now() - this._created;
    return NOW + since / 1000;
  }

  private readonly _created = Date.now();

  get isStale(): boolean {
    return this.overview !== null && this.connection !== 'running';
  }

  /** The overview, which tests change before `tell`. */
  get rows(): IOverview {
    if (!this.overview) {
      throw new Error('This hub has no overview.');
    }
    return this.overview;
  }

  tell(): void {
    this.stateChanged.emit();
  }

  readonly problems = new Problems();

  refresh(): Promise<void> {
    this.refreshes += 1;
    this.tell();
    return Promise.resolve();
  }

  applyAutoscaler(functionId: string, settings: IAutoscaler): void {
    this.rows.functions = this.rows.functions.map(row =>
      row.id === functionId ? { ...row, ...settings } : row
    );
    this.tell();
  }
}

/** The error of a response that names a field. */
export class Refusal extends Error {
  constructor(
    message: string,
    readonly field: string | null = null
  ) {
    super(message);
  }
}

export class FakeApi implements IPanelApi {
  constructor(private readonly _hub: FakeHub) {}

  /** The requests that change something. */
  readonly requests: unknown[][] = [];
  /** Queries of the history. */
  readonly queries: ICallsQuery[] = [];
  /** When set, every request that changes something fails with it. */
  refusal: Error | null = null;
  /** When set, such requests are answered after it. */
  hold: Promise<void> | null = null;
  history: ICallRow[] = [];
  details: Partial<ICallDetails> = {};
  fields: IFunctionDetails['fields'] = [];
  methods: IFunctionDetails['methods'] = [];
  logLines: ILogsPage['lines'] = [];
  healthOf: Partial<IHealth> = {};
  versionsOf: IVersions['versions'] = [];

  functionDetails(functionId: string): Promise<IFunctionDetails> {
    const row = this._hub.rows.functions.find(each => each.id === functionId);
    return Promise.resolve({
      id: functionId,
      app: row?.app ?? '',
      name: row?.name ?? '',
      version: 1,
      environment_name: 'main',
      deployed: true,
      kind: 'function',
      is_generator: false,
      is_async: false,
      signature: '(x: int, how: str = "fast")',
      doc: 'Return the square.\n\nMore.',
      source: '',
      filename: '',
      owner: '',
      made: NOW,
      digest: '',
      python: '3.11',
      executable: '',
      timeout: 300,
      max_retries: 0,
      cpu: null,
      memory: null,
      gpu: null,
      fields: this.fields,
      methods: this.methods,
      import_line: '',
      call_line: ''
    });
  }

  async setAutoscaler(
    functionId: string,
    change: IAutoscalerChange
  ): Promise<IAutoscaler> {
    await this._change('autoscaler', functionId, change);
    const row = this._hub.rows.functions.find(each => each.id === functionId);
    return {
      min_containers: change.min_containers ?? row?.min_containers ?? 0,
      max_containers: change.max_containers ?? row?.max_containers ?? 1,
      buffer_containers: change.buffer_containers ?? 0,
      scaledown_window: change.scaledown_window ?? 60
    };
  }

  versions(): Promise<IVersions> {
    return Promise.resolve({ versions: this.versionsOf });
  }

  async rollback(
    functionId: string,
    version: number
  ): Promise<{ version: number }> {
    await this._change('rollback', functionId, version);
    return { version };
  }

  async stopFunction(
    functionId: string
  ): Promise<{ calls: number; workers: number }> {
    await this._change('stopFunction', functionId);
    return { calls: 0, workers: 0 };
  }

  deleteFunction(functionId: string): Promise<unknown> {
    return this._change('deleteFunction', functionId);
  }

  async call(
    functionId: string,
    request: ICallRequest
  ): Promise<{ call: string }> {
    await this._change('call', functionId, request);
    return { call: 'fc-new' };
  }

  calls(query: ICallsQuery): Promise<ICallsPage> {
    this.queries.push(query);
    const found = this.history.filter(call =>
      call.function.includes(query.search ?? '')
    );
    const first = query.before ? Number(query.before) : 0;
    const last = first + (query.limit ?? 100);
    return Promise.resolve({
      now: NOW,
      calls: found.slice(first, last),
      next: last < found.length ? String(last) : null
    });
  }

  callDetails(callId: string): Promise<ICallDetails> {
    const call =
      [...this._hub.rows.calls, ...this.history].find(
        each => each.id === callId
      ) ?? callRow();
    return Promise.resolve({
      now: NOW,
      call,
      result: null,
      traceback: null,
      errors: [],
      retriable: 0,
      waiting_for: '',
      kept_until: null,
      is_expired: false,
      ...this.details
    });
  }

  cancelCall(callId: string): Promise<unknown> {
    return this._change('cancel', callId);
  }

  endSession(callId: string): Promise<unknown> {
    return this._change('endSession', callId);
  }

  async retryCall(callId: string): Promise<{ inputs: number }> {
    await this._change('retry', callId);
    return { inputs: 1 };
  }

  logs(): Promise<ILogsPage> {
    return Promise.resolve({
      lines: this.logLines,
      last: 0,
      more: false,
      ended: true
    });
  }

  drainWorker(workerId: string): Promise<unknown> {
    return this._change('drain', workerId);
  }

  stopWorker(workerId: string): Promise<unknown> {
    return this._change('stopWorker', workerId);
  }

  health(): Promise<IHealth> {
    return Promise.resolve({
      version: '0.1.0',
      server_version: '0.1.0',
      pid: 1,
      python: '3.11.7',
      host: 'ada-laptop',
      home: '/home/ada',
      now: NOW,
      started: NOW - 3725,
      database_bytes: 1_200_000,
      logs_bytes: 30_000,
      free_bytes: 5e10,
      lost_workers: [],
      warnings: [],
      ...this.healthOf
    });
  }

  async startHub(): Promise<unknown> {
    await this._change('startHub');
    this._hub.connection = 'running';
    return {};
  }

  private async _change(...request: unknown[]): Promise<unknown> {
    await this.hold;
    if (this.refusal !== null) {
      throw this.refusal;
    }
    this.requests.push(request);
    return {};
  }
}

export class FakeNotebooks implements INotebooks {
  readonly changed: Signal<INotebooks, void> = new Signal(this);
  currentPath: string | null = 'churn.ipynb';
  edited = new Set<string>();
  readonly inserted: string[] = [];
  used: string[] = [];

  isEdited(row: IFunctionRow): boolean {
    return this.edited.has(row.id);
  }

  isInCurrent(row: IFunctionRow): boolean {
    return row.owner.endsWith('churn.ipynb');
  }

  insert(code: string): Promise<boolean> {
    this.inserted.push(code);
    return Promise.resolve(true);
  }

  unusedName(base: string): string {
    return this.used.includes(base) ? `${base}_2` : base;
  }
}
