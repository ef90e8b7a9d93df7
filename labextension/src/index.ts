/** The plugin: creates the panel and refreshes its model. */
import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { Poll } from '@lumino/polling';

import { Api } from './api';
import { onChanged } from './events';
import { Model } from './model';
import { Sidebar } from './sidebar';

/** Milliseconds between polls, in case no event arrives, for example while the server restarts. */
const POLL_INTERVAL = 5000;

const sidebar: JupyterFrontEndPlugin<void> = {
  id: 'nbfn:sidebar',
  description: 'Lists the Functions and running calls of the nbfn hub.',
  autoStart: true,
  optional: [ILayoutRestorer, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    restorer: ILayoutRestorer | null,
    translator: ITranslator | null
  ) => {
    const { events, serverSettings } = app.serviceManager;
    const model = new Model(new Api(serverSettings));
    const panel = new Sidebar(model, translator ?? nullTranslator);
    const changed = onChanged(events.stream, () => {
      if (panel.isVisible) {
        void model.refresh();
      }
    });
    const poll = new Poll({
      name: 'nbfn:overview',
      factory: () => model.refresh(),
      frequency: { interval: POLL_INTERVAL, backoff: false },
      standby: () => (panel.isVisible ? 'when-hidden' : true)
    });
    panel.disposed.connect(() => {
      poll.dispose();
      changed.dispose();
      model.dispose();
    });
    app.shell.add(panel, 'left', { rank: 300 });
    restorer?.add(panel, panel.id);
  }
};

export default sidebar;
