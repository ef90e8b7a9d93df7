/** "Something changed" from Jupyter Server's event bus, over the socket that JupyterLab keeps open. */
import type { Event } from '@jupyterlab/services';
import { DisposableDelegate, type IDisposable } from '@lumino/disposable';

export const CHANGED = 'https://nbfn.dev/events/changed/v1';

/** Call `callback` at every change of the overview, until disposed. */
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
