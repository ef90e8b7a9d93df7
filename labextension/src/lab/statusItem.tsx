/** The item of the status bar: `nbfn ● 3 running`. */
import type { TranslationBundle } from '@jupyterlab/translation';
import { VDomRenderer } from '@jupyterlab/ui-components';
import type { IDisposable } from '@lumino/disposable';
import React from 'react';

import type { HubModel } from '../model/hubModel';
import { isUnfinished } from './chooseRow';

/** A name, so it is not translated. */
const NAME = 'nbfn';

export class StatusItem extends VDomRenderer<HubModel> {
  constructor(
    model: HubModel,
    private readonly _trans: TranslationBundle,
    private readonly _open: () => void
  ) {
    super(model);
    this.addClass('jp-nbfn-status');
    this._observation = model.observe();
  }

  override dispose(): void {
    this._observation.dispose();
    super.dispose();
  }

  protected override render(): React.JSX.Element {
    const state = stateOf(this.model, this._trans);
    return (
      <button
        type="button"
        className="jp-nbfn-statusButton"
        title={this._trans.__(
          '%1. Click to show Functions and calls.',
          state.title
        )}
        data-state={state.name}
        onClick={this._open}
      >
        {NAME} <span aria-hidden="true">{state.icon}</span> {state.text}
      </button>
    );
  }

  private readonly _observation: IDisposable;
}

interface IStatus {
  name: 'absent' | 'idle' | 'busy';
  icon: string;
  text: string;
  title: string;
}

function stateOf(model: HubModel, trans: TranslationBundle): IStatus {
  if (model.connection !== 'running' || !model.overview) {
    const text =
      model.connection === null
        ? trans.__('connecting')
        : model.connection === 'absent'
          ? trans.__('not running')
          : trans.__('unreachable');
    const title = model.message || trans.__('The hub of nbfn: %1', text);
    return { name: 'absent', icon: '○', text, title };
  }
  const { calls, workers } = model.overview;
  const unfinished = calls.filter(isUnfinished);
  const running = unfinished.filter(call => call.state !== 'queued').length;
  const waiting = unfinished.length - running;
  const title = [
    trans._n('%1 call running', '%1 calls running', running),
    trans._n('%1 call queued', '%1 calls queued', waiting),
    trans._n('%1 worker', '%1 workers', workers.length)
  ].join(', ');
  return running > 0 || waiting > 0
    ? { name: 'busy', icon: '●', text: counts(running, waiting, trans), title }
    : { name: 'idle', icon: '○', text: trans.__('idle'), title };
}

function counts(
  running: number,
  waiting: number,
  trans: TranslationBundle
): string {
  return running > 0
    ? trans.__('%1 running', running)
    : trans.__('%1 queued', waiting);
}
