/** Inserts a cell that binds the result of a call. */
import type { ICallRow } from '../model/schema';
import type { INotebooks } from './tokens';

/** The name is new in the notebook, so no variable of the user is overwritten. */
export async function insertResult(
  call: ICallRow,
  notebooks: INotebooks
): Promise<boolean> {
  const base = call.function.split('.').at(-1) ?? '';
  const name = notebooks.unusedName(`${base}_result`);
  return notebooks.insert(
    [
      'import nbfn',
      `${name} = nbfn.FunctionCall.from_id("${call.id}").get()`,
      name
    ].join('\n')
  );
}
