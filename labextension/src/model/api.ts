/** Calls the routes of the server extension. */
import { URLExt } from '@jupyterlab/coreutils';
import type { ServerConnection } from '@jupyterlab/services';

import { request, RequestError } from './request';
import type {
  IAutoscaler,
  IAutoscalerChange,
  ICallDetails,
  ICallRequest,
  ICallRetried,
  ICallsPage,
  ICallsQuery,
  ICallStarted,
  IConsole,
  IFunctionDetails,
  IHealth,
  IInputsPage,
  IInputsQuery,
  ILogsPage,
  ILogsQuery,
  IOverviewReply,
  IRolledBack,
  IStopped,
  IVersions
} from './schema';

/** The requests of the model; tests implement it in memory. */
export interface IApi {
  overview(): Promise<IOverviewReply>;
  setAutoscaler(
    functionId: string,
    change: IAutoscalerChange
  ): Promise<IAutoscaler>;
  cancelCall(callId: string): Promise<void>;
  startHub(): Promise<void>;
}

export class Api implements IApi {
  constructor(settings: ServerConnection.ISettings) {
    this._settings = settings;
  }

  async overview(): Promise<IOverviewReply> {
    const reply = await this._get('overview');
    if (!isOverviewReply(reply)) {
      throw new RequestError(
        'The nbfn server extension sent a response that this page does not support. Reload the page.',
        null
      );
    }
    return reply;
  }

  async functionDetails(functionId: string): Promise<IFunctionDetails> {
    return (await this._get(`functions/${functionId}`)) as IFunctionDetails;
  }

  async setAutoscaler(
    functionId: string,
    change: IAutoscalerChange
  ): Promise<IAutoscaler> {
    const path = `functions/${functionId}/autoscaler`;
    return (await this._send('PATCH', path, change)) as IAutoscaler;
  }

  async versions(functionId: string): Promise<IVersions> {
    return (await this._get(`functions/${functionId}/versions`)) as IVersions;
  }

  async rollback(functionId: string, version: number): Promise<IRolledBack> {
    const path = `functions/${functionId}/rollback`;
    return (await this._send('POST', path, { version })) as IRolledBack;
  }

  async stopFunction(functionId: string): Promise<IStopped> {
    return (await this._send(
      'POST',
      `functions/${functionId}/stop`
    )) as IStopped;
  }

  async deleteFunction(functionId: string): Promise<void> {
    await this._send('DELETE', `functions/${functionId}`);
  }

  async call(functionId: string, body: ICallRequest): Promise<ICallStarted> {
    const path = `functions/${functionId}/call`;
    return (await this._send('POST', path, body)) as ICallStarted;
  }

  async calls(query: ICallsQuery): Promise<ICallsPage> {
    return (await this._get('calls', query)) as ICallsPage;
  }

  async callDetails(callId: string): Promise<ICallDetails> {
    return (await this._get(`calls/${callId}`)) as ICallDetails;
  }

  async inputs(callId: string, query: IInputsQuery): Promise<IInputsPage> {
    return (await this._get(`calls/${callId}/inputs`, query)) as IInputsPage;
  }

  async cancelCall(callId: string): Promise<void> {
    await this._send('POST', `calls/${callId}/cancel`);
  }

  /** Cancel the call that is the session of a notebook, whose variables are lost. */
  async endSession(callId: string): Promise<void> {
    await this._send('POST', `calls/${callId}/cancel`, { end_session: true });
  }

  async retryCall(callId: string): Promise<ICallRetried> {
    return (await this._send('POST', `calls/${callId}/retry`)) as ICallRetried;
  }

  /** The response may be delayed, see `wait` of the query; `signal` ends the request. */
  async logs(query: ILogsQuery, signal?: AbortSignal): Promise<ILogsPage> {
    return (await this._get('logs', query, signal)) as ILogsPage;
  }

  async drainWorker(workerId: string): Promise<void> {
    await this._send('POST', `workers/${workerId}/drain`);
  }

  async stopWorker(workerId: string): Promise<void> {
    await this._send('POST', `workers/${workerId}/stop`);
  }

  /** Open a console on a worker: a kernel of the Jupyter server. */
  async console(workerId: string): Promise<IConsole> {
    return (await this._send(
      'POST',
      `workers/${workerId}/console`
    )) as IConsole;
  }

  async health(): Promise<IHealth> {
    return (await this._get('hub/health')) as IHealth;
  }

  async startHub(): Promise<void> {
    await this._send('POST', 'hub/start');
  }

  private _get(
    path: string,
    query: object = {},
    signal?: AbortSignal
  ): Promise<unknown> {
    const given = Object.entries(query).map(([name, value]) => [
      name,
      String(value)
    ]);
    const text = URLExt.objectToQueryString(
      Object.fromEntries(given) as Record<string, string>
    );
    return request(this._settings, path + text, { signal: signal ?? null });
  }

  private _send(method: string, path: string, body?: object): Promise<unknown> {
    const content = body === undefined ? {} : { body: JSON.stringify(body) };
    return request(this._settings, path, { method, ...content });
  }

  private readonly _settings: ServerConnection.ISettings;
}

/** Checks the outline only, since server and page are installed together. */
function isOverviewReply(value: unknown): value is IOverviewReply {
  if (typeof value !== 'object' || value === null) {
    return false;
  }
  const reply = value as Partial<IOverviewReply>;
  const overview = reply.overview;
  return (
    typeof reply.connection === 'string' &&
    typeof reply.message === 'string' &&
    (overview === null ||
      (typeof overview === 'object' &&
        typeof overview.stream === 'string' &&
        Array.isArray(overview.functions) &&
        Array.isArray(overview.calls) &&
        Array.isArray(overview.workers)))
  );
}
