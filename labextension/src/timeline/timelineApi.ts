/** Calls the routes of the timeline. */
import type { ServerConnection } from '@jupyterlab/services';

import { request } from '../model/request';
import type { IFailure, ITimelinePage, ITimelineQuery } from '../model/schema';
import type { ITimelineApi } from './timelineModel';

export class TimelineApi implements ITimelineApi {
  constructor(settings: ServerConnection.ISettings) {
    this._settings = settings;
  }

  async page(query: ITimelineQuery): Promise<ITimelinePage> {
    return (await request(
      this._settings,
      `timeline${encoded(query)}`
    )) as ITimelinePage;
  }

  async failure(
    call: string,
    index: number,
    attempt: number
  ): Promise<string | null> {
    const reply = (await request(
      this._settings,
      `timeline/failure${encoded({ call, index, attempt })}`
    )) as IFailure;
    return reply.traceback;
  }

  private readonly _settings: ServerConnection.ISettings;
}

function encoded(query: object): string {
  const parts = Object.entries(query)
    .filter(([, value]) => value !== undefined && value !== '')
    .map(
      ([name, value]) =>
        `${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`
    );
  return parts.length > 0 ? `?${parts.join('&')}` : '';
}
