/** Calls the routes of the server extension. */
import type { ServerConnection } from '@jupyterlab/services';

import { request, RequestError } from './request';
import type { IApi, IAutoscaler, IOverviewReply } from './types';

export class Api implements IApi {
  constructor(settings: ServerConnection.ISettings) {
    this._settings = settings;
  }

  async overview(): Promise<IOverviewReply> {
    const reply = await request(this._settings, 'overview');
    if (!isOverviewReply(reply)) {
      throw new RequestError(
        'The nbfn server extension sent a response that this page does not support. Reload the page.',
        null
      );
    }
    return reply;
  }

  async setWarm(functionId: string, warm: number): Promise<IAutoscaler> {
    return (await request(
      this._settings,
      `functions/${functionId}/autoscaler`,
      {
        method: 'PATCH',
        body: JSON.stringify({ min_containers: warm })
      }
    )) as IAutoscaler;
  }

  async cancelCall(callId: string): Promise<void> {
    await request(this._settings, `calls/${callId}/cancel`, { method: 'POST' });
  }

  async startHub(): Promise<void> {
    await request(this._settings, 'hub/start', { method: 'POST' });
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
        Array.isArray(overview.functions) &&
        Array.isArray(overview.calls) &&
        Array.isArray(overview.workers)))
  );
}
