/** Changes of the overview, as events of Jupyter Server's event system. */
import type { Event } from '@jupyterlab/services';
import { DisposableDelegate, type IDisposable } from '@lumino/disposable';

import type { IOverviewChange } from './schema';

export const OVERVIEW = 'https://nbfn.dev/events/overview/v1';

/** Call `callback` with each change of the overview, until the result is disposed. */
export function onChange(
  stream: Event.Stream,
  callback: (change: IOverviewChange) => void
): IDisposable {
  const slot = (_: Event.IManager, emission: Event.Emission): void => {
    if (emission.schema_id === OVERVIEW) {
      callback(emission as unknown as IOverviewChange);
    }
  };
  stream.connect(slot);
  return new DisposableDelegate(() => {
    stream.disconnect(slot);
  });
}
