/** The plugin that provides the model and passes events on to it. */
import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { Poll } from '@lumino/polling';

import { Api } from './api';
import { onChange } from './events';
import { HubModel } from './hubModel';
import { IHubModel } from './tokens';

/** Milliseconds between two checks whether events still arrive. */
const CHECK_INTERVAL = 5000;

export const modelPlugin: JupyterFrontEndPlugin<IHubModel> = {
  id: 'nbfn:model',
  description: 'Provides the Functions, calls and workers of the nbfn hub.',
  autoStart: true,
  provides: IHubModel,
  activate: (app: JupyterFrontEnd) => {
    const { events, serverSettings } = app.serviceManager;
    const model = new HubModel(new Api(serverSettings));
    const changes = onChange(events.stream, change => model.receive(change));
    // Sends a request only if no event has arrived for a while.
    const check = new Poll({
      name: 'nbfn:silence',
      factory: () => {
        model.catchUp();
        return Promise.resolve();
      },
      frequency: { interval: CHECK_INTERVAL, backoff: false },
      standby: () => (model.isObserved ? 'when-hidden' : true)
    });
    check.ticked.connect(() => {
      model.nextCheck = new Date(Date.now() + CHECK_INTERVAL);
    });
    const pause = (): void => {
      model.isPaused = document.hidden;
    };
    pause();
    document.addEventListener('visibilitychange', pause);
    model.disposed.connect(() => {
      document.removeEventListener('visibilitychange', pause);
      check.dispose();
      changes.dispose();
    });
    return model;
  }
};
