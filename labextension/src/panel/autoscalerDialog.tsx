/** The dialog for the autoscaler of a Function. It stays open, with the error at its field, until the hub accepts. */
import { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import React from 'react';

import type {
  IAutoscaler,
  IAutoscalerChange,
  IFunctionRow
} from '../model/schema';
import { messageOf } from '../model/problems';
import { fieldOf } from './requests';

type Setting = keyof IAutoscaler;
type Save = (change: IAutoscalerChange) => Promise<unknown>;

export class AutoscalerDialog extends Dialog<null> {
  constructor(row: IFunctionRow, save: Save, trans: TranslationBundle) {
    const body = new AutoscalerForm(row, trans);
    super({
      title: trans.__('Autoscaler of %1', row.name),
      body,
      focusNodeSelector: 'input',
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.okButton({ label: trans.__('Apply') })
      ]
    });
    this._form = body;
    this._save = save;
    this.addClass('jp-nbfn-dialog');
  }

  override resolve(index?: number): void {
    if (index === 0) {
      super.resolve(index);
    } else {
      void this._apply();
    }
  }

  private async _apply(): Promise<void> {
    const change = this._form.read();
    if (change === null) {
      return;
    }
    if (Object.keys(change).length === 0) {
      super.resolve(0); // nothing to change
      return;
    }
    try {
      await this._save(change);
      super.resolve(1);
    } catch (reason) {
      this._form.report(fieldOf(reason), messageOf(reason));
    }
  }

  private readonly _form: AutoscalerForm;
  private readonly _save: Save;
}

interface ISettingText {
  name: Setting;
  label: string;
  help: string;
}

class AutoscalerForm extends ReactWidget {
  constructor(
    row: IFunctionRow,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this._row = row;
    this.id = `jp-nbfn-autoscaler-${row.id}`;
    this.addClass('jp-nbfn-autoscaler');
    for (const { name } of this._settings) {
      this._texts.set(name, String(row[name]));
    }
  }

  /** The settings that differ; null if a text is not valid, which the form then shows. */
  read(): IAutoscalerChange | null {
    this._errors.clear();
    const change: IAutoscalerChange = {};
    for (const { name, label } of this._settings) {
      const text = (this._texts.get(name) ?? '').trim();
      if (!PATTERNS[name].test(text)) {
        this._errors.set(name, this._expected(name, label));
      } else if (Number(text) !== this._row[name]) {
        change[name] = Number(text);
      }
    }
    this._checkBounds();
    this.update();
    return this._errors.size === 0 ? change : null;
  }

  /** Show an error of the hub, at its field if it names one. */
  report(field: string | null, message: string): void {
    this._errors.set(field ?? '', message);
    this.update();
  }

  protected override render(): React.JSX.Element {
    return (
      <>
        {this._settings.map(setting => this._field(setting))}
        {this._errors.has('') && (
          <div className="jp-nbfn-banner" role="alert">
            <span>{this._errors.get('')}</span>
          </div>
        )}
      </>
    );
  }

  private get _settings(): ISettingText[] {
    const trans = this._trans;
    return [
      {
        name: 'min_containers',
        label: trans.__('Least workers'),
        help: trans.__('Kept warm, also when there is nothing to do.')
      },
      {
        name: 'max_containers',
        label: trans.__('Most workers'),
        help: trans.__('Further inputs wait.')
      },
      {
        name: 'buffer_containers',
        label: trans.__('Buffer'),
        help: trans.__('Idle workers in addition while there is load.')
      },
      {
        name: 'scaledown_window',
        label: trans.__('Idle time'),
        help: trans.__('Seconds after which an idle worker ends.')
      }
    ];
  }

  private _field({ name, label, help }: ISettingText): React.JSX.Element {
    const id = `${this.id}-${name}`;
    const error = this._errors.get(name);
    return (
      <div key={name} className="jp-nbfn-field">
        <label htmlFor={id}>{label}</label>
        <input
          id={id}
          name={name}
          type="text"
          inputMode="decimal"
          autoComplete="off"
          value={this._texts.get(name) ?? ''}
          aria-invalid={error !== undefined}
          aria-describedby={`${id}-help`}
          onChange={event => {
            this._texts.set(name, event.target.value);
            this._errors.delete(name);
            this.update();
          }}
        />
        <span
          id={`${id}-help`}
          className={error ? 'jp-nbfn-fieldError' : 'jp-nbfn-help'}
          role={error ? 'alert' : undefined}
        >
          {error ?? help}
        </span>
      </div>
    );
  }

  private _checkBounds(): void {
    const least = Number(this._texts.get('min_containers'));
    const most = Number(this._texts.get('max_containers'));
    if (this._errors.size === 0 && least > most) {
      this._errors.set(
        'min_containers',
        this._trans.__('Least workers is above most workers (%1).', most)
      );
    }
  }

  private _expected(name: Setting, label: string): string {
    return name === 'scaledown_window'
      ? this._trans.__('%1 is not a number of seconds.', label)
      : this._trans.__('%1 is not a whole number.', label);
  }

  private readonly _row: IFunctionRow;
  private readonly _texts = new Map<Setting, string>();
  private readonly _errors = new Map<string, string>();
}

const WHOLE = /^\d{1,6}$/;
const PATTERNS: Readonly<Record<Setting, RegExp>> = {
  min_containers: WHOLE,
  max_containers: WHOLE,
  buffer_containers: WHOLE,
  scaledown_window: /^\d{1,9}(\.\d+)?$/
};
