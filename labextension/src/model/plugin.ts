/** The plugin that provides the model and keeps it fresh while a view shows it. */
import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { Poll } from '@lumino/polling';

import { Api } from './api';
import { onChanged } from './events';
import { HubModel } from './hubModel';
import { IHubModel } from './tokens';

/** Milliseconds between polls, in case no event arrives, for example while the server restarts. */
const POLL_INTERVAL = 5000;

export const modelPlugin: JupyterFrontEndPlugin<IHubModel> = {
  id: 'nbfn:model',
  description: 'Provides the Functions, calls and workers of the nbfn hub.',
  autoStart: true,
  provides: IHubModel,
  activate: (app: JupyterFrontEnd) => {
    const { events, serverSettings } = app.serviceManager;
    const model = new HubModel(new Api(serverSettings));
    const changed = onChanged(events.stream, () => {
      if (model.isObserved) {
        void model.refresh();
      }
    });
    const poll = new Poll({
      name: 'nbfn:overview',
      factory: () => model.refresh(),
      frequency: { interval: POLL_INTERVAL, backoff: false },
      standby: () => (model.isObserved ? 'when-hidden' : true)
    });
    model.disposed.connect(() => {
      poll.dispose();
      changed.dispose();
    });
    return model;
  }
};
