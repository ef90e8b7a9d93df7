/** What the displays of calls ask of the server extension. */
import type { ServerConnection } from '@jupyterlab/services';

import { request } from '../model/request';
import type { ICallDetails, ICallRetried, ILogsPage } from '../model/schema';

/** Lines of output that a display shows. */
const LOG_LINES = 100;

/** The requests of a display; tests implement it in memory. */
export interface ICallRequests {
  details(call: string): Promise<ICallDetails>;
  /** The last lines, or with `after` those that follow line `after`; waits for them at most `wait` seconds. */
  logs(call: string, after?: number, wait?: number): Promise<ILogsPage>;
  cancel(call: string): Promise<void>;
  retry(call: string): Promise<number>;
}

export class CallRequests implements ICallRequests {
  constructor(settings: ServerConnection.ISettings) {
    this._settings = settings;
  }

  async details(call: string): Promise<ICallDetails> {
    return (await request(this._settings, `calls/${call}`)) as ICallDetails;
  }

  async logs(call: string, after = 0, wait = 0): Promise<ILogsPage> {
    const from = after ? `after=${after}&wait=${wait}` : `tail=${LOG_LINES}`;
    const path = `logs?call=${call}&${from}`;
    return (await request(this._settings, path)) as ILogsPage;
  }

  async cancel(call: string): Promise<void> {
    await request(this._settings, `calls/${call}/cancel`, { method: 'POST' });
  }

  async retry(call: string): Promise<number> {
    const done = await request(this._settings, `calls/${call}/retry`, {
      method: 'POST'
    });
    return (done as ICallRetried).inputs;
  }

  private readonly _settings: ServerConnection.ISettings;
}
