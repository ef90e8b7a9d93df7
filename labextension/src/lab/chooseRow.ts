/** Asks for a Function, call or worker, for commands that are executed without a row. */
import { InputDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IHubModel } from '../model/tokens';
import type { ICallRow, IFunctionRow, IWorkerRow } from '../model/schema';

/** The row of an id, or the one that the user chooses; null if there is none or the dialog is cancelled. */
export class RowChooser {
  constructor(
    private readonly _model: IHubModel,
    private readonly _trans: TranslationBundle
  ) {}

  async function(id: string | undefined): Promise<IFunctionRow | null> {
    const rows = this._model.overview?.functions ?? [];
    return this._choose(id, rows, this._trans.__('Function'), row =>
      [`${row.app}/${row.name}`, `v${row.version}`].join(' ')
    );
  }

  async call(id: string | undefined): Promise<ICallRow | null> {
    const rows = this._model.overview?.calls ?? [];
    return this._choose(id, rows, this._trans.__('Call'), nameOfCall);
  }

  async unfinishedCall(id: string | undefined): Promise<ICallRow | null> {
    const rows = (this._model.overview?.calls ?? []).filter(isUnfinished);
    return this._choose(id, rows, this._trans.__('Call'), nameOfCall);
  }

  async worker(id: string | undefined): Promise<IWorkerRow | null> {
    const rows = this._model.overview?.workers ?? [];
    return this._choose(id, rows, this._trans.__('Worker'), row =>
      [row.id, row.function ?? '', row.state].filter(Boolean).join(' · ')
    );
  }

  private async _choose<T extends { id: string }>(
    id: string | undefined,
    rows: readonly T[],
    title: string,
    nameOf: (row: T) => string
  ): Promise<T | null> {
    if (id !== undefined) {
      return rows.find(row => row.id === id) ?? null;
    }
    const labels = distinct(rows, nameOf);
    if (rows.length === 0) {
      await InputDialog.getBoolean({
        title,
        label: this._trans.__('There is nothing to choose from.')
      });
      return null;
    }
    const { value } = await InputDialog.getItem({ title, items: labels });
    return value === null ? null : (rows[labels.indexOf(value)] ?? null);
  }
}

export function isUnfinished(call: ICallRow): boolean {
  return (
    call.state === 'running' ||
    call.state === 'queued' ||
    call.state === 'starting' ||
    call.state === 'detached'
  );
}

export function nameOfCall(call: ICallRow): string {
  return `${call.function}.${call.kind} · ${call.state} · ${call.id.slice(0, 9)}`;
}

/** Labels for rows, with the id where two rows have the same name. */
function distinct<T extends { id: string }>(
  rows: readonly T[],
  nameOf: (row: T) => string
): string[] {
  const names = rows.map(nameOf);
  return names.map((name, at) =>
    names.indexOf(name) === names.lastIndexOf(name)
      ? name
      : `${name} · ${rows[at]?.id ?? ''}`
  );
}
