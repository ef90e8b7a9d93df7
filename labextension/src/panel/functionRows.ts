/** The rows of the Functions section: Apps, and under each its Functions. */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IFunctionRow } from '../model/schema';
import type { PanelModel } from './panelModel';
import { functionStateWord } from './states';
import type { ITreeRow } from './treeFocus';

export type FunctionTreeRow = ITreeRow &
  (
    | { kind: 'app'; app: string; count: number }
    | { kind: 'function'; row: IFunctionRow }
  );

/** Rows for the Functions that pass the filter. Anonymous cells and sessions are not Functions of the user. */
export function functionRows(
  model: PanelModel,
  trans: TranslationBundle
): FunctionTreeRow[] {
  const apps = groupByApp(shownFunctions(model));
  return apps.flatMap(([app, functions], index) => {
    const key = appKey(app);
    const isOpen = !model.isToggled(key);
    const head: FunctionTreeRow = {
      kind: 'app',
      key,
      app,
      count: functions.length,
      label: trans._n(
        '%2, %1 Function',
        '%2, %1 Functions',
        functions.length,
        app
      ),
      text: app,
      level: 1,
      isOpen,
      setSize: apps.length,
      position: index + 1
    };
    const rows = functions.map((row, at): FunctionTreeRow => ({
      kind: 'function',
      key: row.id,
      row,
      label: trans.__('%1, %2', row.name, functionStateWord(row.state, trans)),
      text: row.name,
      level: 2,
      isOpen: null,
      setSize: functions.length,
      position: at + 1
    }));
    return isOpen ? [head, ...rows] : [head];
  });
}

export function shownFunctions(model: PanelModel): IFunctionRow[] {
  return userFunctions(model).filter(row => model.filter.passesFunction(row));
}

export function userFunctions(model: PanelModel): IFunctionRow[] {
  return model.functions.filter(row => row.purpose === 'function');
}

export function appKey(app: string): string {
  return `app:${app}`;
}

function groupByApp(
  functions: readonly IFunctionRow[]
): [string, IFunctionRow[]][] {
  const groups = new Map<string, IFunctionRow[]>();
  for (const row of functions) {
    const group = groups.get(row.app);
    if (group) {
      group.push(row);
    } else {
      groups.set(row.app, [row]);
    }
  }
  for (const group of groups.values()) {
    group.sort((a, b) => compare(a.name, b.name));
  }
  return [...groups].sort(([a], [b]) => compare(a, b));
}

const { compare } = new Intl.Collator();
