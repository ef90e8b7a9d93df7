/** The number of warm workers of a Function, with undo, and the reason when it cannot go further. */
import React from 'react';

import type { IFunctionRow } from '../model/schema';
import { PanelCommands } from './commandIds';
import { usePanel, useRun } from './context';
import { Stepper } from './stepper';

export function WarmStepper({ row }: { row: IFunctionRow }): React.JSX.Element {
  const { model, trans } = usePanel();
  const run = useRun();
  const [limit, setLimit] = React.useState<'min' | 'max' | null>(null);
  const change = model.warm.undoable(row.id);
  const isAtMax = model.warm.value(row) >= row.max_containers;
  return (
    <>
      <span className="jp-nbfn-warm">
        <span aria-hidden="true">{trans.__('warm')}</span>
        <Stepper
          value={model.warm.value(row)}
          max={row.max_containers}
          label={trans.__('Warm workers of %1', row.name)}
          isDisabled={model.hub.isStale}
          onChange={value => model.warm.set(row, value)}
          onLimit={setLimit}
        />
        {change && (
          <button
            className="jp-nbfn-link"
            data-control="undo"
            tabIndex={-1}
            aria-label={trans.__(
              'Undo: %1 warm workers for %2 again',
              change.from,
              row.name
            )}
            onClick={() => model.warm.undo(row)}
          >
            {trans.__('Undo')}
          </button>
        )}
      </span>
      {limit === 'max' && isAtMax && (
        <span className="jp-nbfn-limit" role="status">
          {trans.__('At most %1 workers (max_containers).', row.max_containers)}{' '}
          <button
            className="jp-nbfn-link"
            data-control="autoscaler"
            tabIndex={-1}
            onClick={() =>
              run(PanelCommands.showAutoscaler, { functionId: row.id })
            }
          >
            {trans.__('Autoscaler…')}
          </button>
        </span>
      )}
      {limit === 'min' && model.warm.value(row) === 0 && (
        <span className="jp-nbfn-limit" role="status">
          {trans.__('No worker is kept warm.')}
        </span>
      )}
    </>
  );
}
