/** What displays need of the hub's model. */
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';

import type { IHubModel } from '../model/tokens';
import type { ICallRows } from './hubCall';

export class ModelRows implements ICallRows {
  constructor(private readonly _model: IHubModel) {}

  get changed(): ISignal<unknown, unknown> {
    return this._model.stateChanged;
  }

  get isConnected(): boolean {
    const { connection } = this._model;
    return connection === null || connection === 'running';
  }

  mark(call: string): string | null {
    const rows = this._model.overview?.calls ?? [];
    const row = rows.find(each => each.id === call);
    return row ? JSON.stringify({ ...row, age: 0, since: 0 }) : null;
  }

  observe(): IDisposable {
    return this._model.observe();
  }
}
