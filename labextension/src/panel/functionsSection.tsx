/** The Functions section: a tree of Apps and their Functions. */
import React from 'react';

import { LabCommands, PanelCommands } from './commandIds';
import { usePanel, useRun } from './context';
import { Empty } from './empty';
import { FunctionItem } from './functionItem';
import {
  functionRows,
  userFunctions,
  type FunctionTreeRow
} from './functionRows';
import { NothingFound } from './nothingFound';
import { VirtualTree } from './virtualTree';

const APP_HEIGHT = 26;
const FUNCTION_HEIGHT = 56;

export function FunctionsSection(): React.JSX.Element | null {
  const { model, trans } = usePanel();
  const run = useRun();
  if (!model.hub.overview) {
    return null;
  }
  const rows = functionRows(model, trans);
  if (rows.length === 0) {
    return userFunctions(model).length > 0 ? (
      <NothingFound what={trans.__('No Function matches the filter.')} />
    ) : (
      <NoFunctions />
    );
  }
  return (
    <VirtualTree<FunctionTreeRow>
      rows={rows}
      label={trans.__('Functions by app')}
      isStale={model.hub.isStale}
      revealed={model.revealed}
      estimate={row => (row.kind === 'app' ? APP_HEIGHT : FUNCTION_HEIGHT)}
      attributes={attributesOf}
      render={row =>
        row.kind === 'app' ? (
          <AppItem row={row} />
        ) : (
          <FunctionItem row={row.row} />
        )
      }
      onToggle={row => model.toggle(row.key)}
      onEnter={row => {
        if (row.kind === 'app') {
          model.toggle(row.key);
        } else {
          run(PanelCommands.callFunction, { functionId: row.key });
        }
      }}
      onDelete={row => {
        if (row.kind === 'function') {
          run(PanelCommands.deleteFunction, { functionId: row.key });
        }
      }}
    />
  );
}

function attributesOf(
  row: FunctionTreeRow
): React.HTMLAttributes<HTMLElement> & Record<`data-${string}`, string> {
  return row.kind === 'app'
    ? { className: 'jp-nbfn-item' }
    : {
        className: 'jp-nbfn-item jp-mod-row',
        'data-function': row.row.id,
        'data-state': row.row.state
      };
}

function AppItem({
  row
}: {
  row: FunctionTreeRow & { kind: 'app' };
}): React.JSX.Element {
  const { model } = usePanel();
  return (
    <div
      className="jp-nbfn-group"
      title={row.app}
      onClick={() => model.toggle(row.key)}
    >
      <span aria-hidden="true">{row.isOpen ? '▾' : '▸'}</span>
      <span className="jp-nbfn-name">{row.app}</span>
      <span className="jp-nbfn-count">{row.count}</span>
    </div>
  );
}

/** Code, so it is not translated. */
const MAGIC = '%%remote';

function NoFunctions(): React.JSX.Element {
  const { trans } = usePanel();
  const run = useRun();
  const [before, after] = trans
    .__('Put %1 above a def and run the cell.', MAGIC)
    .split(MAGIC);
  return (
    <Empty
      sentence={
        <>
          {before}
          <code>{MAGIC}</code>
          {after}
        </>
      }
      button={trans.__('Insert example')}
      onClick={() => run(LabCommands.insertExample)}
    />
  );
}
