/** The rows of the Workers section: hosts, and under each its workers. */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IWorkerRow } from '../model/schema';
import type { PanelModel } from './panelModel';
import { workerStateWord } from './states';
import type { ITreeRow } from './treeFocus';

export type WorkerTreeRow = ITreeRow &
  (
    | { kind: 'host'; host: string; count: number }
    | { kind: 'worker'; worker: IWorkerRow }
  );

export function workerRows(
  model: PanelModel,
  trans: TranslationBundle
): WorkerTreeRow[] {
  const hosts = groupByHost(model);
  return hosts.flatMap(([host, workers], index) => {
    const key = `host:${host}`;
    const isOpen = !model.isToggled(key);
    const head: WorkerTreeRow = {
      kind: 'host',
      key,
      host,
      count: workers.length,
      label: trans._n('%2, %1 worker', '%2, %1 workers', workers.length, host),
      text: host,
      level: 1,
      isOpen,
      setSize: hosts.length,
      position: index + 1
    };
    const rows = workers.map((worker, at): WorkerTreeRow => ({
      kind: 'worker',
      key: worker.id,
      worker,
      label: trans.__(
        '%1, %2',
        worker.id.slice(0, 9),
        workerStateWord(worker.state, trans)
      ),
      text: worker.function ?? worker.id,
      level: 2,
      isOpen: null,
      setSize: workers.length,
      position: at + 1
    }));
    return isOpen ? [head, ...rows] : [head];
  });
}

function groupByHost(model: PanelModel): [string, IWorkerRow[]][] {
  const functions = new Map(model.functions.map(row => [row.id, row]));
  const groups = new Map<string, IWorkerRow[]>();
  for (const worker of model.workers) {
    if (model.filter.passesWorker(worker, functions)) {
      const group = groups.get(worker.host);
      if (group) {
        group.push(worker);
      } else {
        groups.set(worker.host, [worker]);
      }
    }
  }
  for (const group of groups.values()) {
    group.sort((a, b) => a.joined - b.joined);
  }
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1));
}
