/** The plugin that adds the commands, and their entries in the palette and in the menus of rows. */
import {
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { IHubModel } from '../model/tokens';
import { IUserSettings } from '../model/userSettings';
import { LabCommands } from '../panel/commandIds';
import { RowChooser } from './chooseRow';
import { CommandIds } from './commandIds';
import { addConsoleCommand } from './consoleCommand';
import { addHubCommands } from './hubCommands';
import { addRowMenus } from './rowMenus';

/** The commands of the palette, in the order of its category. */
const PALETTE: readonly string[] = [
  CommandIds.toggleRemote,
  CommandIds.runRemotely,
  LabCommands.insertExample,
  LabCommands.insertCall,
  LabCommands.insertImport,
  LabCommands.goToCell,
  LabCommands.attachCall,
  CommandIds.cancel,
  CommandIds.setWarm,
  CommandIds.autoscaler,
  LabCommands.openLogs,
  LabCommands.openConsole,
  CommandIds.startHub,
  LabCommands.connectHub,
  CommandIds.openSidebar,
  LabCommands.openTimeline
];

export const commandsPlugin: JupyterFrontEndPlugin<void> = {
  id: 'nbfn:commands',
  description:
    'Adds the commands of nbfn, the palette entries and the menus of rows.',
  autoStart: true,
  requires: [IHubModel, IUserSettings],
  optional: [ICommandPalette, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    model: IHubModel,
    settings: IUserSettings,
    palette: ICommandPalette | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load('nbfn');
    const chooser = new RowChooser(model, trans);
    addHubCommands(app, { model, chooser, settings, trans });
    addConsoleCommand(app, chooser, trans);
    addRowMenus(app, trans);
    if (palette) {
      const category = trans.__('nbfn');
      PALETTE.forEach((command, rank) =>
        palette.addItem({ command, category, rank })
      );
    }
  }
};
