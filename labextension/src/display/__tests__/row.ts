/** A call that runs, as the hub describes it. */
import type { ICallRow } from '../../model/schema';

export const ID = `fc-${'a'.repeat(22)}`;

export const ROW: ICallRow = {
  id: ID,
  function: '<b>train</b>',
  function_id: 'fu-1',
  app: 'app',
  version: 3,
  kind: 'map',
  purpose: 'function',
  state: 'running',
  total: 10,
  succeeded: 4,
  failed: 1,
  cancelled: 0,
  running: 2,
  waiting: 3,
  not_run: 0,
  more: false,
  origin: '',
  started: 1000,
  ended: null,
  durable: true,
  notify: false
};
