/** What the panel asks of the open notebooks; the plugins of lab/ provide it. */
import { Token } from '@lumino/coreutils';
import type { ISignal } from '@lumino/signaling';

import type { IFunctionRow } from '../model/schema';

/** The open notebooks. Optional: without it the panel shows no badges and inserts no cells. */
export interface INotebooks {
  /** Emits when another notebook becomes the current one, and when the result of `isEdited` may have changed. */
  readonly changed: ISignal<INotebooks, void>;
  /** The path of the current notebook relative to the root of the server; null if none is open. */
  readonly currentPath: string | null;
  /** Whether an open cell defines the Function, and its code differs from what is registered. */
  isEdited(row: IFunctionRow): boolean;
  /** Whether a cell of the current notebook defines or registers the Function. */
  isInCurrent(row: IFunctionRow): boolean;
  /** Insert a code cell below the active cell of the current notebook. False if no notebook is open. */
  insert(code: string): Promise<boolean>;
  /** `base`, or `base_2` and so on if the code of the current notebook uses that name already. */
  unusedName(base: string): string;
}

export const INotebooks = new Token<INotebooks>(
  'nbfn:INotebooks',
  'The cells of open notebooks that define Functions of nbfn.'
);
