/** The Running calls section: progress of each call, and Cancel, which does not need the kernel. */
import type { TranslationBundle } from '@jupyterlab/translation';
import { VDomRenderer } from '@jupyterlab/ui-components';
import React from 'react';

import { Banner } from './banner';
import { duration } from '../model/format';
import type { IHubModel } from '../model/tokens';
import type { ICallRow } from '../model/schema';

interface ISectionProps {
  model: IHubModel;
  trans: TranslationBundle;
}

export class CallsSection extends VDomRenderer<IHubModel> {
  constructor(model: IHubModel, trans: TranslationBundle) {
    super(model);
    this._trans = trans;
    this.addClass('jp-nbfn-section');
    this.title.label = trans.__('Running calls');
  }

  protected override render(): React.JSX.Element {
    return <CallList model={this.model} trans={this._trans} />;
  }

  private readonly _trans: TranslationBundle;
}

export function CallList({
  model,
  trans
}: ISectionProps): React.JSX.Element | null {
  if (!model.overview) {
    return null;
  }
  const calls = model.runningCalls;
  if (calls.length === 0) {
    return <p className="jp-nbfn-empty">{trans.__('Nothing is running.')}</p>;
  }
  return (
    <ul
      className={model.isStale ? 'jp-nbfn-calls jp-mod-stale' : 'jp-nbfn-calls'}
      aria-label={trans.__('Running calls')}
    >
      {calls.map(call => (
        <CallItem key={call.id} call={call} model={model} trans={trans} />
      ))}
    </ul>
  );
}

interface ICallItemProps extends ISectionProps {
  call: ICallRow;
}

function CallItem({ call, model, trans }: ICallItemProps): React.JSX.Element {
  const name = `${call.function}.${call.kind}`;
  const cancelling = model.isCancelling(call.id);
  return (
    <li className="jp-nbfn-call" data-call={call.id}>
      <div className="jp-nbfn-row">
        <span
          className="jp-nbfn-name"
          title={`${call.app}/${name} · ${call.id}`}
        >
          {name}
        </span>
        <span className="jp-nbfn-spacer" />
        <span className="jp-nbfn-age">
          {duration(Math.max(0, model.now - call.started))}
        </span>
        <button
          className="jp-nbfn-button"
          aria-label={trans.__('Cancel %1', name)}
          disabled={model.isStale || cancelling}
          onClick={() => void model.cancel(call.id)}
        >
          {cancelling ? trans.__('Cancelling…') : trans.__('Cancel')}
        </button>
      </div>
      <Bar call={call} name={name} trans={trans} />
      <div className="jp-nbfn-facts">
        <span>{progress(call)}</span>
        <span>{trans.__('running %1', call.running)}</span>
        {call.failed > 0 && (
          <span>
            <span className="jp-nbfn-failed" aria-hidden="true">
              ▲
            </span>{' '}
            {trans.__('failed %1', call.failed)}
          </span>
        )}
      </div>
      <Banner model={model} subject={call.id} trans={trans} />
    </li>
  );
}

function Bar(props: {
  call: ICallRow;
  name: string;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { call, name, trans } = props;
  const share = (count: number): string =>
    `${call.total ? (100 * count) / call.total : 0}%`;
  return (
    <div
      className="jp-nbfn-bar"
      role="progressbar"
      aria-label={trans.__('Progress of %1', name)}
      aria-valuemin={0}
      aria-valuemax={call.more ? undefined : call.total}
      aria-valuenow={settled(call)}
      aria-valuetext={progress(call)}
    >
      <div
        className="jp-nbfn-barDone"
        style={{ width: share(call.succeeded) }}
      />
      <div
        className="jp-nbfn-barFailed"
        style={{ width: share(call.failed) }}
      />
    </div>
  );
}

/** The total is unknown while inputs are still read from an iterable. */
function progress(call: ICallRow): string {
  return `${settled(call)} / ${call.more ? '?' : call.total}`;
}

function settled(call: ICallRow): number {
  return call.total - call.running - call.waiting;
}
