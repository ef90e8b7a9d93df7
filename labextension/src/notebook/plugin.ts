/** The plugin for notebooks: marks of remote cells, commands of cells, and code about Functions. */
import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { RowChooser } from '../lab/chooseRow';
import { Api } from '../model/api';
import { IHubModel } from '../model/tokens';
import { IUserSettings } from '../model/userSettings';
import { INotebooks } from '../panel/tokens';
import { addCellCommands } from './cellCommands';
import { enableDrag } from './dragFunction';
import { cellCode, toCallable } from './exampleCall';
import { addFunctionCommands } from './functionCommands';
import { OpenNotebooks } from './openNotebooks';
import { RegisteredSources } from './registeredSources';

export const notebookPlugin: JupyterFrontEndPlugin<INotebooks> = {
  id: 'nbfn:notebook',
  description: 'Marks remote cells, and adds commands for them.',
  autoStart: true,
  provides: INotebooks,
  requires: [IHubModel, INotebookTracker, IUserSettings],
  optional: [ITranslator],
  activate: (
    app: JupyterFrontEnd,
    model: IHubModel,
    tracker: INotebookTracker,
    settings: IUserSettings,
    translator: ITranslator | null
  ): INotebooks => {
    const trans = (translator ?? nullTranslator).load('nbfn');
    const api = new Api(app.serviceManager.serverSettings);
    const sources = new RegisteredSources(
      async id => (await api.functionDetails(id)).source
    );
    const notebooks = new OpenNotebooks(
      tracker,
      model,
      sources,
      settings,
      trans
    );
    const chooser = new RowChooser(model, trans);
    addCellCommands(app, tracker, settings, trans);
    addFunctionCommands(app, {
      tracker,
      notebooks,
      api,
      chooser,
      settings,
      trans
    });
    enableDrag(document.body, async id => {
      const row = model.overview?.functions.find(each => each.id === id);
      if (!row) {
        throw new Error(`There is no Function ${id}.`);
      }
      const target = toCallable(row, await api.functionDetails(id));
      const variable = notebooks.unusedName(target.variable);
      return cellCode({ ...target, variable });
    });
    return notebooks;
  }
};
