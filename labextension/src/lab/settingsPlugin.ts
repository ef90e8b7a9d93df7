/** The plugin that provides the settings of the user, and applies those that concern the whole page or the server. */
import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import type { ServerConnection } from '@jupyterlab/services';
import { ISettingRegistry } from '@jupyterlab/settingregistry';

import { request } from '../model/request';
import type { IServerSettings } from '../model/schema';
import {
  DEFAULTS,
  IUserSettings,
  SETTINGS_ID,
  UserSettings,
  type ISettingValues
} from '../model/userSettings';

export const settingsPlugin: JupyterFrontEndPlugin<IUserSettings> = {
  id: SETTINGS_ID,
  description: 'Provides the settings of nbfn.',
  autoStart: true,
  provides: IUserSettings,
  optional: [ISettingRegistry],
  activate: async (
    app: JupyterFrontEnd,
    registry: ISettingRegistry | null
  ): Promise<IUserSettings> => {
    const settings = new UserSettings();
    const server = new ServerPart(app.serviceManager.serverSettings);
    settings.changed.connect((_, values) => {
      document.body.dataset.nbfnDensity = values.density;
      void server.apply(values);
    });
    const loaded = await registry?.load(SETTINGS_ID).catch(() => null);
    if (loaded) {
      settings.follow(loaded);
    }
    return settings;
  }
};

/** Sends the settings that concern the server when they change. */
class ServerPart {
  constructor(private readonly _settings: ServerConnection.ISettings) {}

  async apply({ hub, interrupt }: ISettingValues): Promise<void> {
    const wanted: IServerSettings = { hub, interrupt };
    const body = JSON.stringify(wanted);
    if (body === this._sent) {
      return;
    }
    this._sent = body;
    try {
      await request(this._settings, 'settings', { method: 'PUT', body });
    } catch (reason) {
      this._sent = '';
      const message = reason instanceof Error ? reason.message : String(reason);
      Notification.error(message, { autoClose: 8000 });
    }
  }

  /** The defaults need not be sent: the server starts with them. */
  private _sent = JSON.stringify({
    hub: DEFAULTS.hub,
    interrupt: DEFAULTS.interrupt
  });
}
