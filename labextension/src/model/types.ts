/**
 * The JSON of the server extension's routes, as nbfn/jupyter/server/routes.py sends it. The tests of both sides use
 * the example tests/contract/overview.json.
 */

/** The state of the Jupyter server's connection to the nbfn hub. */
export type Connection = 'running' | 'absent' | 'unreachable';

export type FunctionState = 'idle' | 'busy' | 'starting' | 'failing';

export interface IHubRow {
  pid: number;
  version: string;
  epoch: number;
  uptime: number;
  home: string;
  cpus: number;
}

export interface IFunctionRow {
  id: string;
  app: string;
  name: string;
  version: number;
  kind: string;
  deployed: boolean;
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
  waiting_for: string | null;
  /** The URL of a web endpoint. */
  web_url: string | null;
  p95: number | null;
  /** Its schedule, such as "every 10 min"; empty if it has none. */
  schedule: string;
  /** Failed inputs, and cold starts of workers, since the start of the hub. */
  failed: number;
  cold_starts: number;
  /** Seconds since the start of the newest call. */
  last_call: number | null;
  /** False for a class with parameters, whose instances have the workers. */
  has_workers: boolean;
  /** Threads of numeric libraries in a worker, and the reason for the number. */
  threads: number;
  threads_why: string;
}

export type CallState =
  | 'queued'
  | 'starting'
  | 'running'
  | 'succeeded'
  | 'failed'
  | 'cancelled'
  | 'detached';

export interface ICallRow {
  id: string;
  function: string;
  app: string;
  kind: string;
  state: CallState;
  /** The inputs that are known so far: the sum of the following numbers. */
  total: number;
  succeeded: number;
  failed: number;
  cancelled: number;
  running: number;
  waiting: number;
  not_run: number;
  /** The duration in seconds, so far or in total. */
  age: number;
  /** The path of the notebook or the name of the script that made the call; empty if unknown. */
  origin: string;
  /** Seconds since its start. */
  since: number;
  /** Whether more inputs may come, so that the total grows. */
  more: boolean;
}

export interface IWorkerRow {
  id: string;
  function: string | null;
  app: string | null;
  state: string;
  pid: number;
  age: number;
  memory: number | null;
  app_id: string | null;
}

export interface IOverview {
  hub: IHubRow;
  revision: number;
  functions: IFunctionRow[];
  calls: ICallRow[];
  workers: IWorkerRow[];
}

/** The response of GET /nbfn/api/overview. */
export interface IOverviewReply {
  connection: Connection;
  message: string;
  overview: IOverview | null;
}

/** The response of PATCH /nbfn/api/functions/ID/autoscaler: all settings of the autoscaler. */
export type IAutoscaler = Pick<
  IFunctionRow,
  'min_containers' | 'max_containers' | 'buffer_containers' | 'scaledown_window'
>;

/** The requests of the model; tests implement it in memory. */
export interface IApi {
  overview(): Promise<IOverviewReply>;
  setWarm(functionId: string, warm: number): Promise<IAutoscaler>;
  cancelCall(callId: string): Promise<void>;
  startHub(): Promise<void>;
}
