/** Commands about the hub, its Functions and calls. They ask for a row if they are executed without one. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { InputDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IHubModel } from '../model/tokens';
import type { IUserSettings } from '../model/userSettings';
import { LabCommands, PanelCommands } from '../panel/commandIds';
import type { RowChooser } from './chooseRow';
import { CALL_ARGS, FUNCTION_ARGS, NO_ARGS } from './commandArgs';
import { CommandIds, type IRowArgs } from './commandIds';
import { nbfnIcon } from './icons';

export interface IHubCommandOptions {
  model: IHubModel;
  chooser: RowChooser;
  settings: IUserSettings;
  trans: TranslationBundle;
}

export function addHubCommands(
  app: JupyterFrontEnd,
  options: IHubCommandOptions
): void {
  const { model, settings, trans } = options;
  app.commands.addCommand(CommandIds.startHub, {
    describedBy: NO_ARGS,
    label: trans.__('Start the Hub'),
    caption: trans.__('Start the hub of this machine, if it does not run'),
    isEnabled: () => model.connection !== 'running' && !model.isStarting,
    execute: () => model.startHub()
  });
  app.commands.addCommand(LabCommands.connectHub, {
    describedBy: NO_ARGS,
    label: trans.__('Connect to a Hub…'),
    caption: trans.__('Use the hub at another address'),
    execute: async () => {
      const { value } = await InputDialog.getText({
        title: trans.__('Connect to a Hub'),
        label: trans.__(
          'Address of the hub; empty for the hub of this machine'
        ),
        text: settings.values.hub,
        okLabel: trans.__('Connect')
      });
      if (value !== null) {
        await settings.set('hub', value.trim());
      }
    }
  });
  app.commands.addCommand(CommandIds.openSidebar, {
    describedBy: NO_ARGS,
    label: trans.__('Show Functions and Calls'),
    caption: trans.__('Show the panel of nbfn'),
    icon: args => (args.isLauncher === true ? nbfnIcon : undefined),
    execute: () => app.shell.activateById('nbfn-sidebar')
  });
  addRowCommands(app, options);
}

function addRowCommands(
  app: JupyterFrontEnd,
  { model, chooser, trans }: IHubCommandOptions
): void {
  app.commands.addCommand(CommandIds.setWarm, {
    describedBy: FUNCTION_ARGS,
    label: trans.__('Set Warm Workers…'),
    caption: trans.__('Set how many workers of a Function are kept ready'),
    execute: async args => {
      const row = await chooser.function((args as IRowArgs).functionId);
      if (!row) {
        return;
      }
      const { value } = await InputDialog.getNumber({
        title: trans.__('Warm workers of %1', row.name),
        value: row.min_containers
      });
      if (value !== null && Number.isInteger(value) && value >= 0) {
        await model.setWarm(row.id, value);
      }
    }
  });
  app.commands.addCommand(CommandIds.autoscaler, {
    describedBy: FUNCTION_ARGS,
    label: trans.__('Autoscaler…'),
    caption: trans.__(
      'Set the least, largest and extra number of workers of a Function'
    ),
    execute: async args => {
      const row = await chooser.function((args as IRowArgs).functionId);
      if (row) {
        await app.commands.execute(PanelCommands.showAutoscaler, {
          functionId: row.id
        });
      }
    }
  });
  app.commands.addCommand(CommandIds.cancel, {
    describedBy: CALL_ARGS,
    label: trans.__('Cancel Call…'),
    caption: trans.__('Cancel the waiting and running inputs of a call'),
    execute: async args => {
      const call = await chooser.unfinishedCall((args as IRowArgs).callId);
      if (call) {
        await model.cancel(call.id);
      }
    }
  });
}
