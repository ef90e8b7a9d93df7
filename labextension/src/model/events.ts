/** Changes of the overview, as events of Jupyter Server's event system. */
import type { Event } from '@jupyterlab/services';
import { DisposableDelegate, type IDisposable } from '@lumino/disposable';

export const CHANGED = 'https://nbfn.dev/events/changed/v1';

/** Call `callback` at each change of the overview, until the result is disposed. */
export function onChanged(
  stream: Event.Stream,
  callback: () => void
): IDisposable {
  const slot = (_: Event.IManager, emission: Event.Emission): void => {
    if (emission.schema_id === CHANGED) {
      callback();
    }
  };
  stream.connect(slot);
  return new DisposableDelegate(() => {
    stream.disconnect(slot);
  });
}
