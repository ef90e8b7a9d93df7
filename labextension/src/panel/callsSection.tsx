/** The Calls section: running, waiting, detached and ended calls, and apart from them the sessions. */
import React from 'react';

import { RetryBanner } from './banner';
import { CallItem } from './callItem';
import { callRows, type CallTreeRow } from './callRows';
import { PanelCommands } from './commandIds';
import { usePanel, useRun } from './context';
import { Empty } from './empty';
import { GroupItem } from './groupItem';
import { LabCommands } from './commandIds';
import { NothingFound } from './nothingFound';
import { RowButton } from './rowButton';
import { SessionItem } from './sessionItem';
import { isOver } from './states';
import { VirtualTree } from './virtualTree';

const GROUP_HEIGHT = 26;
const CALL_HEIGHT = 58;
const OLDER_HEIGHT = 34;

export function CallsSection(): React.JSX.Element | null {
  const { model, trans } = usePanel();
  const run = useRun();
  const { history, hub } = model;
  const isKnown = hub.overview !== null;
  React.useEffect(() => {
    if (isKnown && !model.hub.isStale) {
      void model.history.loadMore();
    }
  }, [model, isKnown]);
  if (!isKnown) {
    return null;
  }
  const rows = callRows(model, trans);
  if (!rows.some(row => row.kind !== 'group' && row.kind !== 'older')) {
    if (history.error === null && !history.isComplete) {
      return <p className="jp-nbfn-empty">{trans.__('Loading…')}</p>;
    }
    if (history.error === null) {
      return model.filter.isActive ? (
        <NothingFound what={trans.__('No call matches the filter.')} />
      ) : (
        <Empty
          sentence={trans.__('No Function was called yet.')}
          button={trans.__('Insert example')}
          onClick={() => run(LabCommands.insertExample)}
        />
      );
    }
  }
  return (
    <VirtualTree<CallTreeRow>
      rows={rows}
      label={trans.__('Calls')}
      isStale={hub.isStale}
      revealed={model.revealed}
      estimate={estimate}
      attributes={attributesOf}
      render={row => <Row row={row} />}
      onToggle={row => toggle(row, model)}
      onEnter={row => {
        if (row.kind === 'older') {
          void history.loadMore();
        } else {
          toggle(row, model);
        }
      }}
      onDelete={row => {
        if (row.kind === 'session') {
          run(PanelCommands.endSession, { callId: row.key });
        } else if (row.kind === 'call' && !isOver(row.call.state)) {
          run(PanelCommands.cancelCall, { callId: row.key });
        }
      }}
    />
  );
}

function toggle(row: CallTreeRow, model: IPanelModel): void {
  if (row.kind === 'group') {
    model.toggle(row.key);
  } else if (row.kind === 'call') {
    model.toggleCall(row.key);
  }
}

type IPanelModel = ReturnType<typeof usePanel>['model'];

function Row({ row }: { row: CallTreeRow }): React.JSX.Element {
  const { model } = usePanel();
  switch (row.kind) {
    case 'group':
      return (
        <GroupItem
          title={row.title}
          count={row.count}
          isOpen={row.isOpen === true}
          onToggle={() => model.toggle(row.key)}
        />
      );
    case 'call':
      return <CallItem call={row.call} />;
    case 'session':
      return <SessionItem call={row.call} />;
    case 'older':
      return <Older />;
  }
}

function Older(): React.JSX.Element {
  const { model, trans } = usePanel();
  const { history } = model;
  return history.error === null ? (
    <RowButton
      text={history.isLoading ? trans.__('Loading…') : trans.__('Show older')}
      label={trans.__('Show older calls')}
      isDisabled={history.isLoading || model.hub.isStale}
      onClick={() => void history.loadMore()}
    />
  ) : (
    <RetryBanner
      message={history.error}
      onRetry={() => void history.loadMore()}
    />
  );
}

function estimate(row: CallTreeRow): number {
  return row.kind === 'group'
    ? GROUP_HEIGHT
    : row.kind === 'older'
      ? OLDER_HEIGHT
      : CALL_HEIGHT;
}

function attributesOf(
  row: CallTreeRow
): React.HTMLAttributes<HTMLElement> & Record<`data-${string}`, string> {
  switch (row.kind) {
    case 'call':
      return {
        className: 'jp-nbfn-item jp-mod-row',
        'data-call': row.call.id,
        'data-state': row.call.state
      };
    case 'session':
      return {
        className: 'jp-nbfn-item jp-mod-row',
        'data-session': row.call.id
      };
    case 'group':
      return { className: 'jp-nbfn-item' };
    case 'older':
      return { className: 'jp-nbfn-item jp-nbfn-older' };
  }
}
