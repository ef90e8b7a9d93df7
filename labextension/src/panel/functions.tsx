/** The Functions section: a tree of Apps and their Functions, each with a stepper for its warm workers. */
import type { TranslationBundle } from '@jupyterlab/translation';
import { VDomRenderer } from '@jupyterlab/ui-components';
import React from 'react';

import { Banner } from './banner';
import { duration } from '../model/format';
import type { IAppGroup } from '../model/hubModel';
import type { IHubModel } from '../model/tokens';
import { Stepper } from './stepper';
import type { FunctionState, IFunctionRow } from '../model/schema';
import { moveFocus } from './treeKeyboard';

interface ISectionProps {
  model: IHubModel;
  trans: TranslationBundle;
}

export class FunctionsSection extends VDomRenderer<IHubModel> {
  constructor(model: IHubModel, trans: TranslationBundle) {
    super(model);
    this._trans = trans;
    this.addClass('jp-nbfn-section');
    this.title.label = trans.__('Functions');
  }

  protected override render(): React.JSX.Element {
    return <FunctionTree model={this.model} trans={this._trans} />;
  }

  private readonly _trans: TranslationBundle;
}

export function FunctionTree({
  model,
  trans
}: ISectionProps): React.JSX.Element | null {
  const [closed, setClosed] = React.useState<ReadonlySet<string>>(new Set());
  const apps = model.apps;
  if (!model.overview) {
    return null;
  }
  if (apps.length === 0) {
    return <NoFunctions trans={trans} />;
  }
  const toggle = (app: string): void => {
    const next = new Set(closed);
    if (!next.delete(app)) {
      next.add(app);
    }
    setClosed(next);
  };
  return (
    <ul
      className={model.isStale ? 'jp-nbfn-tree jp-mod-stale' : 'jp-nbfn-tree'}
      role="tree"
      aria-label={trans.__('Functions by app')}
      onKeyDown={moveFocus}
    >
      {apps.map((group, index) => (
        <AppItem
          key={group.app}
          group={group}
          isFirst={index === 0}
          isOpen={!closed.has(group.app)}
          onToggle={() => toggle(group.app)}
          model={model}
          trans={trans}
        />
      ))}
    </ul>
  );
}

/** Code, so it is not translated. */
const MAGIC = '%%remote';

function NoFunctions({
  trans
}: {
  trans: TranslationBundle;
}): React.JSX.Element {
  const [before, after] = trans
    .__('Put %1 above a def and run the cell.', MAGIC)
    .split(MAGIC);
  return (
    <p className="jp-nbfn-empty">
      {before}
      <code>{MAGIC}</code>
      {after}
    </p>
  );
}

interface IAppItemProps extends ISectionProps {
  group: IAppGroup;
  isFirst: boolean;
  isOpen: boolean;
  onToggle: () => void;
}

function AppItem(props: IAppItemProps): React.JSX.Element {
  const { group, isFirst, isOpen, onToggle, model, trans } = props;
  return (
    <li
      className="jp-nbfn-app"
      role="treeitem"
      aria-expanded={isOpen}
      aria-label={group.app}
      tabIndex={isFirst ? 0 : -1}
    >
      <div className="jp-nbfn-appName" onClick={onToggle} title={group.app}>
        <span aria-hidden="true">{isOpen ? '▾' : '▸'}</span>
        <span className="jp-nbfn-name">{group.app}</span>
        <span className="jp-nbfn-count">{group.functions.length}</span>
      </div>
      {isOpen && (
        <ul role="group">
          {group.functions.map(row => (
            <FunctionItem key={row.id} row={row} model={model} trans={trans} />
          ))}
        </ul>
      )}
    </li>
  );
}

interface IFunctionItemProps extends ISectionProps {
  row: IFunctionRow;
}

function FunctionItem({
  row,
  model,
  trans
}: IFunctionItemProps): React.JSX.Element {
  const word = stateWord(row.state, trans);
  return (
    <li
      className="jp-nbfn-function"
      role="treeitem"
      aria-label={trans.__('%1, %2', row.name, word)}
      tabIndex={-1}
      data-state={row.state}
      data-function={row.id}
    >
      <div className="jp-nbfn-row">
        <span className="jp-nbfn-name" title={title(row, trans)}>
          {row.name}
        </span>
        <span className="jp-nbfn-version">{`v${row.version}`}</span>
        {kindWord(row.kind, trans) && (
          <span className="jp-nbfn-kind">{kindWord(row.kind, trans)}</span>
        )}
        <span className="jp-nbfn-spacer" />
        <span className="jp-nbfn-state" data-state={row.state}>
          <span className="jp-nbfn-stateIcon" aria-hidden="true">
            {STATE_ICONS[row.state]}
          </span>{' '}
          {word}
        </span>
      </div>
      {row.has_workers ? (
        <Pool row={row} model={model} trans={trans} />
      ) : (
        <div className="jp-nbfn-facts">
          {trans.__('Each instance has its own workers.')}
        </div>
      )}
      {row.schedule && (
        <div className="jp-nbfn-schedule">
          {trans.__('Called by the hub: %1', row.schedule)}
        </div>
      )}
      {row.web_url && (
        <a
          className="jp-nbfn-url"
          href={row.web_url}
          target="_blank"
          rel="noopener noreferrer"
        >
          {trans.__('Open the endpoint')}
        </a>
      )}
      {row.waiting_for && (
        <div className="jp-nbfn-waiting">{row.waiting_for}</div>
      )}
      <Banner model={model} subject={row.id} trans={trans} />
    </li>
  );
}

/** The pool of a Function: its warm workers, and their state. */
function Pool({ row, model, trans }: IFunctionItemProps): React.JSX.Element {
  return (
    <div className="jp-nbfn-facts">
      <span className="jp-nbfn-warm">
        <span aria-hidden="true">{trans.__('warm')}</span>
        <Stepper
          value={model.warm(row)}
          max={row.max_containers}
          label={trans.__('Warm workers of %1', row.name)}
          disabled={model.isStale}
          trans={trans}
          onChange={value => model.setWarm(row.id, value)}
        />
      </span>
      <span>{workers(row, trans)}</span>
      <span>{trans.__('backlog %1', row.backlog)}</span>
      <span>{trans.__('running %1', row.running)}</span>
      {row.p50 !== null && <span>{trans.__('p50 %1', duration(row.p50))}</span>}
    </div>
  );
}

/** States differ in shape as well as in colour. */
const STATE_ICONS: Readonly<Record<FunctionState, string>> = {
  idle: '○',
  stopped: '■',
  busy: '●',
  starting: '◌',
  failing: '▲'
};

function stateWord(state: FunctionState, trans: TranslationBundle): string {
  return {
    idle: trans.__('idle'),
    stopped: trans.__('stopped'),
    busy: trans.__('busy'),
    starting: trans.__('starting'),
    failing: trans.__('failing')
  }[state];
}

/** The kind of a Function that is not called like a plain function. */
function kindWord(kind: string, trans: TranslationBundle): string {
  return (
    { cls: trans.__('class'), generator: trans.__('generator') }[kind] ?? ''
  );
}

function workers(row: IFunctionRow, trans: TranslationBundle): string {
  return row.starting > 0
    ? trans.__('workers %1 (+%2 starting)', row.workers, row.starting)
    : trans.__('workers %1', row.workers);
}

function title(row: IFunctionRow, trans: TranslationBundle): string {
  return trans.__(
    '%1/%2 v%3: at most %4 workers, idle ones stop after %5 s',
    row.app,
    row.name,
    row.version,
    row.max_containers,
    row.scaledown_window
  );
}
