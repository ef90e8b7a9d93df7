/**
 * The JSON of the server extension's routes, field by field as nbfn/jupyter/server/routes.py sends it.
 * tests/contract/overview.json is the example that both sides are tested with.
 */

/** How the Jupyter server stands to the nbfn hub. */
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
  /** Where a web endpoint answers. */
  web_url: string | null;
  p95: number | null;
  /** When the hub calls it by itself, such as "every 10 min"; else empty. */
  schedule: string;
  /** Inputs that failed, and workers that inputs waited for, since the hub began. */
  failed: number;
  cold_starts: number;
  /** Seconds since the newest call began. */
  last_call: number | null;
  /** Not so of a class whose objects differ: it is they that have workers. */
  has_workers: boolean;
  /** Threads of numeric libraries in a worker, and why so many. */
  threads: number;
  threads_why: string;
}

export interface ICallRow {
  id: string;
  function: string;
  app: string;
  kind: string;
  status: string;
  total: number | null;
  done: number;
  failed: number;
  running: number;
  /** Seconds it took, or takes. */
  age: number;
  /** The notebook's path or the script's name that the call comes from; empty when not known. */
  origin: string;
  /** Seconds since it began. */
  since: number;
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

/** Answer of GET /nbfn/api/overview. */
export interface IOverviewReply {
  connection: Connection;
  message: string;
  overview: IOverview | null;
}

/** Answer of PATCH /nbfn/api/functions/ID/autoscaler: all settings, as they are now. */
export type IAutoscaler = Pick<
  IFunctionRow,
  'min_containers' | 'max_containers' | 'buffer_containers' | 'scaledown_window'
>;

/** What the model needs of the server; the tests give it a small fake. */
export interface IApi {
  overview(): Promise<IOverviewReply>;
  setWarm(functionId: string, warm: number): Promise<IAutoscaler>;
  cancelCall(callId: string): Promise<void>;
  startHub(): Promise<void>;
}
