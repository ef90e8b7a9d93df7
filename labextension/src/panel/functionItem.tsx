/** One Function: its state, its pool, and what the user has opened under it. */
import type { TranslationBundle } from '@jupyterlab/translation';
import { runIcon } from '@jupyterlab/ui-components';
import React from 'react';

import { duration } from '../model/format';
import type { IFunctionRow } from '../model/schema';
import { Banner } from './banner';
import { CallFormView } from './callFormView';
import { PanelCommands } from './commandIds';
import { usePanel, useRun } from './context';
import { MenuButton, RowButton } from './rowButton';
import { functionStateWord, StateMark } from './states';
import { VersionsView } from './versionsView';
import { WarmStepper } from './warmStepper';

interface IRowProps {
  row: IFunctionRow;
}

export function FunctionItem({ row }: IRowProps): React.JSX.Element {
  const { model } = usePanel();
  return (
    <>
      <Head row={row} />
      <Facts row={row} />
      <Notes row={row} />
      <Banner subject={row.id} />
      {model.form(row.id) && <CallFormView row={row} />}
      {model.showsVersions(row.id) && <VersionsView row={row} />}
    </>
  );
}

function Head({ row }: IRowProps): React.JSX.Element {
  const { model, notebooks, trans } = usePanel();
  const run = useRun();
  return (
    <div className="jp-nbfn-row">
      <KindIcon row={row} />
      <span className="jp-nbfn-name" title={titleOf(row, trans)}>
        {row.name}
      </span>
      <span className="jp-nbfn-version">{`v${row.version}`}</span>
      {notebooks?.isEdited(row) && (
        <span
          className="jp-nbfn-badge"
          title={trans.__(
            'The cell differs from what is registered. Run it to register it.'
          )}
        >
          {trans.__('edited')}
        </span>
      )}
      <span className="jp-nbfn-spacer" />
      <StateMark state={row.state} word={functionStateWord(row.state, trans)} />
      <RowButton
        icon={runIcon}
        label={trans.__('Call %1…', row.name)}
        isDisabled={model.hub.isStale}
        onClick={() => run(PanelCommands.callFunction, { functionId: row.id })}
      />
      <MenuButton label={trans.__('More actions for %1', row.name)} />
    </div>
  );
}

/** A letter in a box, as in JupyterLab's completer. */
function KindIcon({ row }: IRowProps): React.JSX.Element {
  const { trans } = usePanel();
  const [letter, word] = row.web_url
    ? ['W', trans.__('web endpoint')]
    : row.kind === 'cls'
      ? ['C', trans.__('class')]
      : row.kind === 'generator'
        ? ['G', trans.__('generator')]
        : ['ƒ', trans.__('function')];
  return (
    <span
      className="jp-nbfn-kind"
      role="img"
      aria-label={word}
      title={word}
      data-kind={row.kind}
    >
      {letter}
    </span>
  );
}

function Facts({ row }: IRowProps): React.JSX.Element {
  const { trans } = usePanel();
  if (!row.has_workers) {
    return (
      <div className="jp-nbfn-facts">
        {trans.__('Each instance has its own workers.')}
      </div>
    );
  }
  return (
    <div className="jp-nbfn-facts">
      <WarmStepper row={row} />
      <span>{workersText(row, trans)}</span>
      {row.backlog > 0 && <span>{trans.__('queue %1', row.backlog)}</span>}
      {row.running > 0 && <span>{trans.__('running %1', row.running)}</span>}
      {row.p50 !== null && <span>{trans.__('p50 %1', duration(row.p50))}</span>}
    </div>
  );
}

function workersText(row: IFunctionRow, trans: TranslationBundle): string {
  return row.starting > 0
    ? trans.__('workers %1 (+%2 starting)', row.workers, row.starting)
    : trans.__('workers %1', row.workers);
}

function titleOf(row: IFunctionRow, trans: TranslationBundle): string {
  return trans.__(
    '%1/%2 v%3: at most %4 workers, idle ones stop after %5 s',
    row.app,
    row.name,
    row.version,
    row.max_containers,
    row.scaledown_window
  );
}

/** When the hub calls it, where it answers HTTP, and what it waits for. */
function Notes({ row }: IRowProps): React.JSX.Element {
  const { trans } = usePanel();
  return (
    <>
      {row.schedule && (
        <div className="jp-nbfn-note">
          {trans.__('Called by the hub: %1', row.schedule)}
        </div>
      )}
      {row.web_url && (
        <a
          className="jp-nbfn-url"
          href={row.web_url}
          data-control="link"
          tabIndex={-1}
          target="_blank"
          rel="noopener noreferrer"
        >
          {trans.__('Open the endpoint')}
        </a>
      )}
      {row.waiting_for && (
        <div className="jp-nbfn-waiting">{row.waiting_for}</div>
      )}
    </>
  );
}
