/** The Workers section: what of the machine is in use, and the worker processes by host. */
import { consoleIcon, stopIcon } from '@jupyterlab/ui-components';
import React from 'react';

import { bytes, duration } from '../model/format';
import type { IWorkerRow } from '../model/schema';
import { Banner } from './banner';
import { CapacityView } from './capacityView';
import { LabCommands, PanelCommands } from './commandIds';
import { usePanel, useRun } from './context';
import { GroupItem } from './groupItem';
import { NothingFound } from './nothingFound';
import { MenuButton, RowButton } from './rowButton';
import { StateMark, workerStateWord } from './states';
import { useTick } from './tick';
import { VirtualTree } from './virtualTree';
import { workerRows, type WorkerTreeRow } from './workerRows';

const HOST_HEIGHT = 26;
const WORKER_HEIGHT = 52;

export function WorkersSection(): React.JSX.Element | null {
  const { model, trans } = usePanel();
  if (!model.hub.overview) {
    return null;
  }
  return (
    <div className="jp-nbfn-column">
      <CapacityView hub={model.hub.overview.hub} isStale={model.hub.isStale} />
      <Rows rows={workerRows(model, trans)} />
    </div>
  );
}

function Rows({ rows }: { rows: readonly WorkerTreeRow[] }): React.JSX.Element {
  const { model, trans } = usePanel();
  const run = useRun();
  if (rows.length === 0) {
    return model.workers.length > 0 ? (
      <NothingFound what={trans.__('No worker matches the filter.')} />
    ) : (
      <p className="jp-nbfn-empty">
        {trans.__('No worker runs. The first call of a Function starts one.')}
      </p>
    );
  }
  return (
    <VirtualTree<WorkerTreeRow>
      rows={rows}
      label={trans.__('Workers by host')}
      isStale={model.hub.isStale}
      revealed={model.revealed}
      estimate={row => (row.kind === 'host' ? HOST_HEIGHT : WORKER_HEIGHT)}
      attributes={attributesOf}
      render={row =>
        row.kind === 'host' ? (
          <GroupItem
            title={row.host}
            count={String(row.count)}
            isOpen={row.isOpen === true}
            onToggle={() => model.toggle(row.key)}
          />
        ) : (
          <WorkerItem worker={row.worker} />
        )
      }
      onToggle={row => model.toggle(row.key)}
      onEnter={row => {
        if (row.kind === 'host') {
          model.toggle(row.key);
        } else {
          run(LabCommands.openConsole, { workerId: row.key });
        }
      }}
      onDelete={row => {
        if (row.kind === 'worker') {
          run(PanelCommands.stopWorker, { workerId: row.key });
        }
      }}
    />
  );
}

function attributesOf(
  row: WorkerTreeRow
): React.HTMLAttributes<HTMLElement> & Record<`data-${string}`, string> {
  return row.kind === 'host'
    ? { className: 'jp-nbfn-item' }
    : {
        className: 'jp-nbfn-item jp-mod-row',
        'data-worker': row.worker.id,
        'data-state': row.worker.state
      };
}

function WorkerItem({ worker }: { worker: IWorkerRow }): React.JSX.Element {
  const { model, commands, trans } = usePanel();
  const run = useRun();
  useTick(!model.hub.isStale);
  const args = { workerId: worker.id };
  const name = worker.id.slice(0, 9);
  const isDisabled = model.hub.isStale || model.action(worker.id) !== null;
  return (
    <>
      <div className="jp-nbfn-row">
        <span className="jp-nbfn-name" title={worker.id}>
          {worker.function ?? trans.__('no Function yet')}
        </span>
        <span className="jp-nbfn-spacer" />
        <StateMark
          state={worker.state}
          word={workerStateWord(worker.state, trans)}
        />
        {commands.hasCommand(LabCommands.openConsole) && (
          <RowButton
            icon={consoleIcon}
            label={trans.__('Open a console on %1', name)}
            isDisabled={isDisabled || worker.function === null}
            onClick={() => run(LabCommands.openConsole, args)}
          />
        )}
        <RowButton
          icon={stopIcon}
          label={trans.__('Stop %1', name)}
          isDisabled={isDisabled}
          onClick={() => run(PanelCommands.stopWorker, args)}
        />
        <MenuButton label={trans.__('More actions for %1', name)} />
      </div>
      <div className="jp-nbfn-facts">
        <span className="jp-nbfn-id">{name}</span>
        <span>{trans.__('pid %1', worker.pid)}</span>
        {worker.memory !== null && <span>{bytes(worker.memory)}</span>}
        <span>
          {trans.__(
            'up %1',
            duration(Math.max(0, model.now() - worker.joined))
          )}
        </span>
        {worker.gpus.length > 0 && (
          <span>{trans.__('gpu %1', worker.gpus.join(', '))}</span>
        )}
        <RowButton
          text={
            model.action(worker.id) === 'drain'
              ? trans.__('Draining…')
              : trans.__('Drain')
          }
          label={trans.__('Drain %1: it ends after its inputs', name)}
          isDisabled={isDisabled || worker.state === 'draining'}
          onClick={() => run(PanelCommands.drainWorker, args)}
        />
      </div>
      <Banner subject={worker.id} />
    </>
  );
}
