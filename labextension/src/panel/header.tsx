/** The header of the panel: the state of the hub, errors, and a button that starts it. */
import type { TranslationBundle } from '@jupyterlab/translation';
import { VDomRenderer } from '@jupyterlab/ui-components';
import React from 'react';

import { Banner } from './banner';
import { clock } from '../model/format';
import type { IHubModel } from '../model/tokens';
import type { Connection, IOverview } from '../model/schema';

interface IHeaderProps {
  model: IHubModel;
  trans: TranslationBundle;
}

export class HeaderSection extends VDomRenderer<IHubModel> {
  constructor(model: IHubModel, trans: TranslationBundle) {
    super(model);
    this._trans = trans;
    this.addClass('jp-nbfn-header');
  }

  protected override render(): React.JSX.Element {
    return <Header model={this.model} trans={this._trans} />;
  }

  private readonly _trans: TranslationBundle;
}

export function Header({ model, trans }: IHeaderProps): React.JSX.Element {
  const { connection, overview, fetchedAt } = model;
  return (
    <>
      <div className="jp-nbfn-hub" role="status">
        <span
          className="jp-nbfn-dot"
          data-connection={connection ?? 'asking'}
          aria-hidden="true"
        />
        <span className="jp-nbfn-name">
          {connectionWord(connection, trans)}
        </span>
        {overview && !model.isStale && (
          <span className="jp-nbfn-facts">{capacity(overview, trans)}</span>
        )}
        {model.isStale && fetchedAt && (
          <span className="jp-nbfn-asOf">
            {trans.__('as of %1', clock(fetchedAt))}
          </span>
        )}
      </div>
      {connection === 'absent' && <Absent model={model} trans={trans} />}
      {connection === 'unreachable' && (
        <div className="jp-nbfn-banner" role="alert">
          <span>{model.message}</span>
          <button
            className="jp-nbfn-button"
            onClick={() => void model.refresh()}
          >
            {trans.__('Retry now')}
          </button>
        </div>
      )}
      {model.unattachedProblems.map(problem => (
        <Banner
          key={problem.subject}
          model={model}
          subject={problem.subject}
          trans={trans}
        />
      ))}
    </>
  );
}

function Absent({ model, trans }: IHeaderProps): React.JSX.Element {
  return (
    <div className="jp-nbfn-empty">
      <p>{trans.__('nbfn is not running. Start it on this machine.')}</p>
      <button
        className="jp-nbfn-button jp-mod-accept"
        disabled={model.isStarting}
        onClick={() => void model.startHub()}
      >
        {model.isStarting ? trans.__('Starting…') : trans.__('Start')}
      </button>
    </div>
  );
}

function connectionWord(
  connection: Connection | null,
  trans: TranslationBundle
): string {
  switch (connection) {
    case 'running':
      return trans.__('Hub running');
    case 'absent':
      return trans.__('Hub not running');
    case 'unreachable':
      return trans.__('Hub unreachable');
    case null:
      return trans.__('Connecting to the hub…');
  }
}

function capacity(overview: IOverview, trans: TranslationBundle): string {
  const cpus = Math.round(overview.hub.cpus * 10) / 10;
  return [
    trans._n('%1 worker', '%1 workers', overview.workers.length),
    trans._n('%1 CPU', '%1 CPUs', cpus)
  ].join(' · ');
}
