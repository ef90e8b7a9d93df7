/** The plugin that adds the panel to the left sidebar. */
import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { Api } from '../model/api';
import { IHubModel } from '../model/tokens';
import { addPanelCommands } from './panelCommands';
import { PanelModel } from './panelModel';
import { Sidebar } from './sidebar';
import { INotebooks } from './tokens';

export const panelPlugin: JupyterFrontEndPlugin<void> = {
  id: 'nbfn:panel',
  description: 'Shows the Functions, calls and workers of the nbfn hub.',
  autoStart: true,
  requires: [IHubModel],
  optional: [ILayoutRestorer, ITranslator, INotebooks],
  activate: (
    app: JupyterFrontEnd,
    hub: IHubModel,
    restorer: ILayoutRestorer | null,
    translator: ITranslator | null,
    notebooks: INotebooks | null
  ) => {
    const trans = (translator ?? nullTranslator).load('nbfn');
    const model = new PanelModel(
      hub,
      new Api(app.serviceManager.serverSettings)
    );
    const { commands } = app;
    const panel = new Sidebar(
      { model, commands, notebooks, trans },
      translator ?? nullTranslator,
      () => hub.observe()
    );
    const followNotebook = (): void => {
      model.filter.notebook = notebooks?.currentPath ?? null;
    };
    notebooks?.changed.connect(followNotebook);
    followNotebook();
    const reveal = (id: string): void => {
      app.shell.activateById(panel.id);
      panel.reveal(id);
    };
    const added = addPanelCommands({ commands, model, trans, reveal });
    panel.disposed.connect(() => {
      notebooks?.changed.disconnect(followNotebook);
      added.dispose();
      model.dispose();
    });
    app.shell.add(panel, 'left', { rank: 300 });
    restorer?.add(panel, panel.id);
  }
};
