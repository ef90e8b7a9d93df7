/** The plugin: makes the panel and keeps its model fresh. */
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

/** Milliseconds between two looks in case no event comes, for example while the server restarts. */
const FALLBACK = 5000;

const sidebar: JupyterFrontEndPlugin<void> = {
  id: 'nbfn:sidebar',
  description: 'Lists the functions and running calls of the nbfn hub.',
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
      frequency: { interval: FALLBACK, backoff: false },
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
