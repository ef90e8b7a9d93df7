/** Generated from nbfn/jupyter/server/schema.py by "make types"; do not edit. */

export type Connection = 'running' | 'absent' | 'unreachable';
export type FunctionState =
  'idle' | 'busy' | 'starting' | 'failing' | 'stopped';
export type CallState =
  | 'queued'
  | 'starting'
  | 'running'
  | 'succeeded'
  | 'failed'
  | 'cancelled'
  | 'detached';
export type InputState =
  'succeeded' | 'failed' | 'cancelled' | 'running' | 'waiting' | 'not run';
export type WorkerState =
  'starting' | 'blank' | 'idle' | 'busy' | 'draining' | 'lost';
export type Purpose = 'function' | 'script' | 'session';

/**
 * Response of ``GET overview``.
 *
 * Without a hub, ``overview`` is the last one that the server has seen, and ``message`` says what is wrong.
 */
export interface IOverviewReply {
  connection: Connection;
  message: string;
  overview: IOverview | null;
}
/**
 * The rows as of ``revision`` of ``stream``, which `OverviewChange` continues.
 *
 * ``calls`` has unfinished calls and the last ended ones; ``unfinished`` counts also those that are not shown.
 */
export interface IOverview {
  stream: string;
  revision: number;
  now: number;
  hub: IHubRow;
  unfinished: number;
  functions: IFunctionRow[];
  calls: ICallRow[];
  workers: IWorkerRow[];
}
/**
 * The hub, and how much of the machine its workers have reserved. Memory is in bytes; 0 is unknown.
 */
export interface IHubRow {
  pid: number;
  version: string;
  epoch: number;
  started: number;
  home: string;
  host: string;
  cpus: number;
  cpus_used: number;
  memory: number;
  memory_used: number;
  gpus: number;
  gpus_used: number;
}
/**
 * One Function.
 */
export interface IFunctionRow {
  id: string;
  app: string;
  app_id: string;
  name: string;
  version: number;
  kind: string;
  purpose: Purpose;
  deployed: boolean;
  owner: string;
  state: FunctionState;
  backlog: number;
  running: number;
  workers: number;
  starting: number;
  min_containers: number;
  max_containers: number;
  buffer_containers: number;
  scaledown_window: number;
  p50: number | null;
  p95: number | null;
  waiting_for: string | null;
  web_url: string | null;
  failed: number;
  cold_starts: number;
  called: number | null;
  schedule: string;
  has_workers: boolean;
  threads: number;
  threads_why: string;
}
/**
 * One call. The six counts of inputs add up to ``total``.
 */
export interface ICallRow {
  id: string;
  function: string;
  function_id: string;
  app: string;
  version: number;
  kind: string;
  purpose: Purpose;
  state: CallState;
  total: number;
  succeeded: number;
  failed: number;
  cancelled: number;
  running: number;
  waiting: number;
  not_run: number;
  more: boolean;
  origin: string;
  started: number;
  ended: number | null;
  durable: boolean;
  notify: boolean;
}
/**
 * One worker process.
 */
export interface IWorkerRow {
  id: string;
  function: string | null;
  function_id: string | null;
  app: string | null;
  app_id: string | null;
  state: WorkerState;
  host: string;
  pid: number;
  joined: number;
  memory: number | null;
  gpus: string[];
  session: string;
}
/**
 * Event: what changed between the revisions ``previous`` and ``revision``.
 *
 * It is also sent every few seconds without a change, so that a page notices when events do not arrive. A new row
 * is a patch with all fields. Without a hub, ``hub`` is None and the rows keep their last values.
 */
export interface IOverviewChange {
  stream: string;
  previous: number;
  revision: number;
  now: number;
  connection: Connection;
  message: string;
  hub: IHubRow | null;
  unfinished: number;
  functions: IFunctionPatch[];
  calls: ICallPatch[];
  workers: IWorkerPatch[];
  gone: string[];
}
export interface IFunctionPatch {
  id: string;
  app?: string;
  app_id?: string;
  name?: string;
  version?: number;
  kind?: string;
  purpose?: Purpose;
  deployed?: boolean;
  owner?: string;
  state?: FunctionState;
  backlog?: number;
  running?: number;
  workers?: number;
  starting?: number;
  min_containers?: number;
  max_containers?: number;
  buffer_containers?: number;
  scaledown_window?: number;
  p50?: number | null;
  p95?: number | null;
  waiting_for?: string | null;
  web_url?: string | null;
  failed?: number;
  cold_starts?: number;
  called?: number | null;
  schedule?: string;
  has_workers?: boolean;
  threads?: number;
  threads_why?: string;
}
export interface ICallPatch {
  id: string;
  function?: string;
  function_id?: string;
  app?: string;
  version?: number;
  kind?: string;
  purpose?: Purpose;
  state?: CallState;
  total?: number;
  succeeded?: number;
  failed?: number;
  cancelled?: number;
  running?: number;
  waiting?: number;
  not_run?: number;
  more?: boolean;
  origin?: string;
  started?: number;
  ended?: number | null;
  durable?: boolean;
  notify?: boolean;
}
export interface IWorkerPatch {
  id: string;
  function?: string | null;
  function_id?: string | null;
  app?: string | null;
  app_id?: string | null;
  state?: WorkerState;
  host?: string;
  pid?: number;
  joined?: number;
  memory?: number | null;
  gpus?: string[];
  session?: string;
}
/**
 * Response of a request that failed; ``field`` is the field of the form that is wrong.
 */
export interface IProblem {
  message: string;
  field?: string | null;
}
/**
 * Response of ``GET functions/ID``. Memory is in bytes, times are in seconds.
 */
export interface IFunctionDetails {
  id: string;
  app: string;
  name: string;
  version: number;
  environment_name: string;
  deployed: boolean;
  kind: string;
  is_generator: boolean;
  is_async: boolean;
  signature: string;
  doc: string;
  source: string;
  filename: string;
  owner: string;
  made: number;
  digest: string;
  python: string;
  executable: string;
  timeout: number;
  max_retries: number;
  cpu: number | null;
  memory: number | null;
  gpu: string | null;
  fields: IField[];
  methods: IMethodDetails[];
  import_line: string;
  call_line: string;
}
/**
 * A field of a form for one parameter.
 */
export interface IField {
  name: string;
  kind: 'bool' | 'choice' | 'expression' | 'float' | 'int' | 'str';
  role: 'args' | 'keyword' | 'kwargs' | 'positional';
  default: string | null;
  choices: string[];
  about: string;
}
/**
 * A method of a class that can be called.
 */
export interface IMethodDetails {
  name: string;
  signature: string;
  doc: string;
  is_generator: boolean;
  fields: IField[];
}
/**
 * Body of ``PATCH functions/ID/autoscaler``; settings that it omits do not change.
 */
export interface IAutoscalerChange {
  min_containers?: number | null;
  max_containers?: number | null;
  buffer_containers?: number | null;
  scaledown_window?: number | null;
}
/**
 * Response of ``PATCH functions/ID/autoscaler``: all settings.
 */
export interface IAutoscaler {
  min_containers: number;
  max_containers: number;
  buffer_containers: number;
  scaledown_window: number;
}
/**
 * Response of ``GET functions/ID/versions``: the versions, newest first.
 */
export interface IVersions {
  versions: IVersionRow[];
}
/**
 * One version of a Function, and its first deployment.
 */
export interface IVersionRow {
  version: number;
  is_current: boolean;
  deployment: number;
  deployed: number;
  by: string;
  commit: string;
  tag: string;
  nbfn: string;
}
/**
 * Body of ``POST functions/ID/rollback``.
 */
export interface IRollbackRequest {
  version: number;
}
/**
 * Response of ``POST functions/ID/rollback``: the version that is current now.
 */
export interface IRolledBack {
  version: number;
}
/**
 * Body of ``POST functions/ID/call``: JSON values of the arguments by name.
 */
export interface ICallRequest {
  arguments?: {
    [k: string]: unknown;
  };
  method?: string;
}
/**
 * Response of ``POST functions/ID/call``: the id of the call, which is stored.
 */
export interface ICallStarted {
  call: string;
}
/**
 * Response of ``POST functions/ID/stop``: how many calls were cancelled and workers ended.
 */
export interface IStopped {
  calls: number;
  workers: number;
}
/**
 * Query of ``GET calls``: ended and unfinished calls, newest first.
 *
 * ``since`` is in seconds since 1970, ``before`` is ``next`` of the previous page.
 */
export interface ICallsQuery {
  state?: CallState | '';
  since?: number;
  search?: string;
  limit?: number;
  before?: string;
}
/**
 * Response of ``GET calls``; ``next`` is None on the last page.
 */
export interface ICallsPage {
  now: number;
  calls: ICallRow[];
  next: string | null;
}
/**
 * Response of ``GET calls/ID``. ``result`` is the text of the result of a call with one input.
 */
export interface ICallDetails {
  now: number;
  call: ICallRow;
  result: string | null;
  traceback: string | null;
  errors: IErrorGroup[];
  retriable: number;
  waiting_for: string;
  kept_until: number | null;
  is_expired: boolean;
}
/**
 * Failures of the same type, with the same text but for numbers, at the same line.
 */
export interface IErrorGroup {
  count: number;
  type: string;
  message: string;
  where: string;
  indexes: number[];
  traceback: string;
}
/**
 * Response of ``POST calls/ID/retry``: how many inputs run again.
 */
export interface ICallRetried {
  inputs: number;
}
/**
 * Query of ``GET calls/ID/inputs``, ordered by index.
 */
export interface IInputsQuery {
  state?: InputState | '';
  limit?: number;
  first?: number;
}
/**
 * Response of ``GET calls/ID/inputs``; ``next`` is ``first`` of the next page.
 *
 * Of a call that is not stored, the hub knows the inputs that have not ended, and the last failures.
 */
export interface IInputsPage {
  inputs: IInputRow[];
  next: number | null;
}
/**
 * One input of a call; ``error`` is the last line of its traceback.
 */
export interface IInputRow {
  index: number;
  state: InputState;
  attempt: number;
  worker: string | null;
  duration: number | null;
  error: string | null;
}
/**
 * Body of ``POST calls/ID/cancel``, ``workers/ID/drain``, ``stop``, and ``functions/ID/stop``; it may be omitted.
 *
 * What would end a session, and so lose the variables of a notebook, is refused (409) without ``end_session``.
 */
export interface IEndRequest {
  end_session?: boolean;
}
/**
 * Response of ``POST workers/ID/console``: a Jupyter kernel of this server, connected to the worker.
 */
export interface IConsole {
  kernel_id: string;
  connection_file: string;
}
/**
 * Query of ``GET logs``: lines after line ``after``, or the last ``tail`` ones.
 *
 * The response is delayed by at most ``wait`` seconds while no line matches.
 */
export interface ILogsQuery {
  app?: string;
  function?: string;
  call?: string;
  worker?: string;
  since?: number;
  until?: number;
  sources?: string;
  search?: string;
  tail?: number;
  after?: number;
  wait?: number;
}
/**
 * Response of ``GET logs``. ``last`` is ``after`` of the next request; after ``ended``, no line follows.
 */
export interface ILogsPage {
  lines: ILogRow[];
  last: number;
  more: boolean;
  ended: boolean;
}
/**
 * One line of the logs.
 */
export interface ILogRow {
  id: number;
  at: number;
  source: string;
  app: string;
  function: string;
  call: string;
  index: number;
  worker: string;
  message: string;
}
/**
 * Response of ``GET hub/health``. Sizes are in bytes.
 */
export interface IHealth {
  version: string;
  server_version: string;
  pid: number;
  python: string;
  host: string;
  home: string;
  now: number;
  started: number;
  database_bytes: number;
  logs_bytes: number;
  free_bytes: number;
  lost_workers: ILostWorker[];
  warnings: IHealthWarning[];
}
/**
 * A worker that ended unexpectedly.
 */
export interface ILostWorker {
  id: string;
  function: string;
  app: string;
  at: number;
  reason: string;
}
/**
 * Something that does not work, and what to do.
 */
export interface IHealthWarning {
  subject: string;
  message: string;
  remedy: string;
}
/**
 * Body and response of ``PUT settings``; with an empty ``hub``, the one that the server was started with.
 */
export interface IServerSettings {
  hub?: string;
  interrupt?: 'cancel' | 'detach';
}
/**
 * Query of ``GET timeline``: spans after number ``after`` that overlap the time from ``since`` to ``until``.
 *
 * If ``columns`` is not 0 and there are more than ``most`` spans, the response has that many bins instead.
 */
export interface ITimelineQuery {
  call?: string;
  function?: string;
  worker?: string;
  since?: number;
  until?: number;
  after?: number;
  columns?: number;
  most?: number;
  summary?: boolean;
}
/**
 * Response of ``GET timeline``. ``last`` is ``after`` of the next request; ``running`` have not ended.
 *
 * ``epoch`` is the hub's: a new hub numbers its spans from 1 again.
 */
export interface ITimelinePage {
  epoch: number;
  now: number;
  matched: number;
  last: number;
  more: boolean;
  dropped: number;
  lanes: ITimelineLane[];
  calls: ITimelineCall[];
  spans: ITimelineSpans;
  running: ITimelineSpans;
  bins: ITimelineBins | null;
  summary: ITimelineSummary | null;
}
/**
 * One worker; a time that is not known is 0. ``memory_peak`` is in bytes, 0 if unknown.
 */
export interface ITimelineLane {
  number: number;
  worker: string;
  host: string;
  pid: number;
  function: string;
  name: string;
  app: string;
  asked: number;
  connected: number;
  bound: number;
  loaded: number;
  ended: number;
  cold: boolean;
  lost: boolean;
  how: string;
  memory_peak: number;
}
/**
 * The call that spans belong to.
 */
export interface ITimelineCall {
  number: number;
  id: string;
  function: string;
  name: string;
  app: string;
  version: number;
  kind: string;
}
/**
 * Attempts of inputs, as columns of the same length.
 *
 * ``inputs`` is over 1 for several quick inputs of which ``index`` is the first. ``lane`` and ``call`` are numbers
 * of rows; ``outcome`` is 1 succeeded, 2 failed, 4 cancelled, 5 timed out, 6 worker lost, 7 running.
 */
export interface ITimelineSpans {
  queued: number[];
  started: number[];
  seconds: number[];
  busy: number[];
  index: number[];
  inputs: number[];
  lane: number[];
  call: number[];
  attempt: number[];
  outcome: number[];
}
/**
 * What workers did in equal parts of the time from ``start`` on, as columns of the same length.
 */
export interface ITimelineBins {
  start: number;
  seconds: number;
  lane: number[];
  bin: number[];
  inputs: number[];
  failed: number[];
  busy: number[];
  call: number[];
}
/**
 * Where the time of the workers went, in seconds of all workers together.
 *
 * ``running`` are the selected inputs, ``other`` further inputs of the same workers. ``waiting`` is time in which a
 * loaded worker ran nothing although an input waited; ``idle`` that in which none waited.
 */
export interface ITimelineSummary {
  start: number;
  end: number;
  workers: number;
  running: number;
  other: number;
  starting: number;
  waiting: number;
  idle: number;
  inputs: number;
  failed: number;
  queued: number;
  duration_p50: number;
  duration_p95: number;
  wait_p50: number;
  wait_p95: number;
  slowest: ITimelineSlowInput[];
  critical_lane: number;
  tail: number;
}
/**
 * One of the inputs that took longest.
 */
export interface ITimelineSlowInput {
  call: number;
  index: number;
  attempt: number;
  lane: number;
  started: number;
  seconds: number;
  outcome: number;
}
/**
 * Query of ``GET timeline/failure``.
 */
export interface IFailureQuery {
  call: string;
  index: number;
  attempt: number;
}
/**
 * Response of ``GET timeline/failure``: the traceback of an attempt, None if it is no longer kept.
 */
export interface IFailure {
  traceback: string | null;
}
