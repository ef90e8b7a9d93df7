/** The settings of labextension/schema/settings.json, as JupyterLab's settings editor changes them. */
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { Token } from '@lumino/coreutils';
import { Signal, type ISignal } from '@lumino/signaling';

/** The id of the settings, and of the plugin that provides them. */
export const SETTINGS_ID = 'nbfn:settings';

export type InterruptPolicy = 'cancel' | 'detach';
export type Density = 'comfortable' | 'compact';
export type Notifications = 'off' | 'lab' | 'desktop';

export interface ISettingValues {
  /** The address of the hub; empty for the hub of this machine. */
  hub: string;
  /** The App of new remote cells; empty for the name of the notebook. */
  defaultApp: string;
  interrupt: InterruptPolicy;
  density: Density;
  /** How the end of a long call is announced. */
  notifications: Notifications;
  /** Whether remote cells show their state. */
  marks: boolean;
}

export const DEFAULTS: Readonly<ISettingValues> = {
  hub: '',
  defaultApp: '',
  interrupt: 'cancel',
  density: 'comfortable',
  notifications: 'off',
  marks: true
};

/** The settings of the user; the defaults until they are loaded. */
export interface IUserSettings {
  readonly values: Readonly<ISettingValues>;
  /** Emits the settings after each change. */
  readonly changed: ISignal<IUserSettings, Readonly<ISettingValues>>;
  /** Store a setting. */
  set<K extends keyof ISettingValues>(
    name: K,
    value: ISettingValues[K]
  ): Promise<void>;
}

export const IUserSettings = new Token<IUserSettings>(
  'nbfn:IUserSettings',
  'The settings of nbfn.'
);

export class UserSettings implements IUserSettings {
  get values(): Readonly<ISettingValues> {
    return this._values;
  }

  get changed(): ISignal<this, Readonly<ISettingValues>> {
    return this._changed;
  }

  /** Follow the settings of the registry. */
  follow(settings: ISettingRegistry.ISettings): void {
    this._settings = settings;
    settings.changed.connect(this._read, this);
    this._read();
  }

  async set<K extends keyof ISettingValues>(
    name: K,
    value: ISettingValues[K]
  ): Promise<void> {
    if (this._settings) {
      await this._settings.set(name, value);
    } else {
      this._values = { ...this._values, [name]: value };
      this._changed.emit(this._values);
    }
  }

  private _read(): void {
    this._values = {
      ...DEFAULTS,
      ...(this._settings?.composite as Partial<ISettingValues> | undefined)
    };
    this._changed.emit(this._values);
  }

  private _settings: ISettingRegistry.ISettings | null = null;
  private _values: Readonly<ISettingValues> = DEFAULTS;
  private readonly _changed = new Signal<this, Readonly<ISettingValues>>(this);
}
