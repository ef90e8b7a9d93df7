/** What displays need of the hub's model. */
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';

import type { ICallRow } from '../model/schema';
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

  row(call: string): ICallRow | null {
    const rows = this._model.overview?.calls ?? [];
    return rows.find(each => each.id === call) ?? null;
  }

  now(): number {
    return this._model.now;
  }

  observe(): IDisposable {
    return this._model.observe();
  }
}
