/** The header of the panel: the state of the hub, a filter, errors, and a button that starts the hub. */
import type { TranslationBundle } from '@jupyterlab/translation';
import { searchIcon } from '@jupyterlab/ui-components';
import React from 'react';

import { clock } from '../model/format';
import type { Connection, IOverview } from '../model/schema';
import { Banner } from './banner';
import { LabCommands } from './commandIds';
import { usePanel, useRun } from './context';
import type { Scope } from './filter';
import { useTick } from './tick';

export function Header(): React.JSX.Element {
  const { model } = usePanel();
  return (
    <>
      <HubLine />
      {model.hub.overview && <FilterLine />}
      {model.hub.connection === 'absent' && <Absent />}
      {model.hub.connection === 'unreachable' && <Unreachable />}
      {model.unattachedProblems.map(subject => (
        <Banner key={subject} subject={subject} />
      ))}
    </>
  );
}

function HubLine(): React.JSX.Element {
  const { model, trans } = usePanel();
  const { connection, overview, fetchedAt, isStale } = model.hub;
  return (
    <div className="jp-nbfn-hub" role="status">
      <span
        className="jp-nbfn-dot"
        data-connection={connection ?? 'asking'}
        aria-hidden="true"
      />
      <span className="jp-nbfn-name" title={overview?.hub.home}>
        {connectionWord(connection, trans)}
      </span>
      {overview && !isStale && (
        <span className="jp-nbfn-facts">{capacity(overview, trans)}</span>
      )}
      {isStale && fetchedAt && (
        <span className="jp-nbfn-asOf">
          {trans.__('as of %1', clock(fetchedAt))}
        </span>
      )}
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
  return [
    overview.hub.host,
    trans._n('%1 worker', '%1 workers', overview.workers.length)
  ]
    .filter(Boolean)
    .join(' · ');
}

function FilterLine(): React.JSX.Element {
  const { model, trans } = usePanel();
  const { filter } = model;
  return (
    <div className="jp-nbfn-filter" role="search">
      <span className="jp-nbfn-search">
        <searchIcon.react tag="span" width="14px" height="14px" />
        <input
          type="search"
          value={filter.search}
          placeholder={trans.__('Search')}
          aria-label={trans.__('Search Functions, calls and workers')}
          onChange={event => {
            filter.search = event.target.value;
          }}
          onKeyDown={event => {
            if (event.key === 'Escape') {
              filter.search = '';
            }
          }}
        />
      </span>
      <ScopeChoice />
    </div>
  );
}

/** A radio group: one tab stop, and arrow keys choose. */
function ScopeChoice(): React.JSX.Element {
  const { model, trans } = usePanel();
  const { filter } = model;
  const id = React.useId();
  const scopes: [Scope, string][] = [
    ['notebook', trans.__('This notebook')],
    ['all', trans.__('All')]
  ];
  return (
    <span
      className="jp-nbfn-scope"
      role="radiogroup"
      aria-label={trans.__('Show')}
    >
      {scopes.map(([scope, word]) => (
        <label
          key={scope}
          title={scope === 'all' ? '' : (filter.notebook ?? '')}
        >
          <input
            type="radio"
            name={id}
            checked={filter.scope === scope}
            onChange={() => {
              filter.scope = scope;
            }}
          />
          <span>{word}</span>
        </label>
      ))}
    </span>
  );
}

function Absent(): React.JSX.Element {
  const { model, commands, trans } = usePanel();
  const run = useRun();
  const canConnect = commands.hasCommand(LabCommands.connectHub);
  return (
    <div className="jp-nbfn-empty">
      <p>
        {canConnect
          ? trans.__(
              'nbfn is not running. Start it on this machine, or connect to a hub.'
            )
          : trans.__('nbfn is not running. Start it on this machine.')}
      </p>
      <div className="jp-nbfn-buttons">
        <button
          className="jp-nbfn-button jp-mod-accept"
          disabled={model.isStarting}
          onClick={() => void model.startHub()}
        >
          {model.isStarting ? trans.__('Starting…') : trans.__('Start')}
        </button>
        {canConnect && (
          <button
            className="jp-nbfn-button"
            onClick={() => run(LabCommands.connectHub)}
          >
            {trans.__('Connect…')}
          </button>
        )}
      </div>
    </div>
  );
}

function Unreachable(): React.JSX.Element {
  const { model, trans } = usePanel();
  const { retryAt } = model.hub;
  useTick(retryAt !== null);
  const seconds =
    retryAt === null ? 0 : Math.ceil((retryAt.getTime() - Date.now()) / 1000);
  return (
    <div className="jp-nbfn-banner">
      <span role="alert">{model.hub.message}</span>
      {seconds > 0 && (
        <span className="jp-nbfn-countdown">
          {trans.__('Next try in %1 s.', seconds)}
        </span>
      )}
      <button
        className="jp-nbfn-button"
        onClick={() => void model.hub.refresh()}
      >
        {trans.__('Retry now')}
      </button>
    </div>
  );
}
