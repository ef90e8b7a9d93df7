/** The plugin that adds the panel to the left sidebar. */
import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { IHubModel } from '../model/tokens';
import { Sidebar } from './sidebar';

export const panelPlugin: JupyterFrontEndPlugin<void> = {
  id: 'nbfn:panel',
  description: 'Lists the Functions and running calls of the nbfn hub.',
  autoStart: true,
  requires: [IHubModel],
  optional: [ILayoutRestorer, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    model: IHubModel,
    restorer: ILayoutRestorer | null,
    translator: ITranslator | null
  ) => {
    const panel = new Sidebar(model, translator ?? nullTranslator);
    app.shell.add(panel, 'left', { rank: 300 });
    restorer?.add(panel, panel.id);
  }
};
