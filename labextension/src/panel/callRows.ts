/** The rows of the Calls section: groups by what can be done with their calls. */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { ICallRow } from '../model/schema';
import type { PanelModel } from './panelModel';
import { callStateWord, isOver } from './states';
import type { ITreeRow } from './treeFocus';

export type CallGroup =
  'running' | 'waiting' | 'detached' | 'sessions' | 'history';

export type CallTreeRow = ITreeRow &
  (
    | { kind: 'group'; title: string; count: string }
    | { kind: 'call'; call: ICallRow }
    | { kind: 'session'; call: ICallRow }
    | { kind: 'older' }
  );

/** Unfinished calls of the user; the key of a group is in `isToggled` if it is closed. */
export function callRows(
  model: PanelModel,
  trans: TranslationBundle
): CallTreeRow[] {
  const groups = groupCalls(model);
  const shown = ORDER.filter(
    name =>
      groups[name].length > 0 ||
      (name === 'history' && !model.history.isComplete)
  );
  return shown.flatMap((name, index) => {
    const calls = groups[name];
    const key = groupKey(name);
    const isOpen = !model.isToggled(key);
    const hasMore = name === 'history' && !model.history.isComplete;
    const title = groupTitle(name, trans);
    const count = `${calls.length}${hasMore ? '+' : ''}`;
    const head: CallTreeRow = {
      kind: 'group',
      key,
      title,
      count,
      label: `${title}, ${count}`,
      text: title,
      level: 1,
      isOpen,
      setSize: shown.length,
      position: index + 1
    };
    const rows = calls.map((call, at) =>
      rowOf(call, name, at, calls.length, model, trans)
    );
    const older = hasMore ? [olderRow(calls.length, trans)] : [];
    return isOpen ? [head, ...rows, ...older] : [head];
  });
}

export function groupKey(name: CallGroup): string {
  return `calls:${name}`;
}

export function callName(call: ICallRow): string {
  return `${call.function}.${call.kind}`;
}

export function groupOf(call: ICallRow): CallGroup {
  if (isOver(call.state)) {
    return 'history';
  }
  if (call.purpose === 'session') {
    return 'sessions';
  }
  if (call.state === 'detached') {
    return 'detached';
  }
  return call.state === 'queued' ? 'waiting' : 'running';
}

const ORDER: readonly CallGroup[] = [
  'running',
  'waiting',
  'detached',
  'sessions',
  'history'
];

function groupCalls(model: PanelModel): Record<CallGroup, ICallRow[]> {
  const groups: Record<CallGroup, ICallRow[]> = {
    running: [],
    waiting: [],
    detached: [],
    sessions: [],
    history: []
  };
  const unfinished = new Set<string>();
  const passes = (call: ICallRow): boolean => model.filter.passesCall(call);
  for (const call of model.calls) {
    if (!isOver(call.state)) {
      unfinished.add(call.id);
      if (passes(call)) {
        groups[groupOf(call)].push(call);
      }
    }
  }
  groups.history = model.history.calls.filter(
    call => isOver(call.state) && !unfinished.has(call.id) && passes(call)
  );
  for (const name of ORDER) {
    groups[name].sort((a, b) => b.started - a.started);
  }
  return groups;
}

function groupTitle(name: CallGroup, trans: TranslationBundle): string {
  return {
    running: trans.__('Running'),
    waiting: trans.__('Waiting'),
    detached: trans.__('Detached: their notebook is gone'),
    sessions: trans.__('Sessions of the remote kernel'),
    history: trans.__('History')
  }[name];
}

function rowOf(
  call: ICallRow,
  group: CallGroup,
  index: number,
  setSize: number,
  model: PanelModel,
  trans: TranslationBundle
): CallTreeRow {
  const isSession = group === 'sessions';
  return {
    kind: isSession ? 'session' : 'call',
    key: call.id,
    call,
    label: trans.__('%1, %2', callName(call), callStateWord(call.state, trans)),
    text: call.function,
    level: 2,
    isOpen: isSession ? null : model.isToggled(call.id),
    setSize,
    position: index + 1
  };
}

function olderRow(count: number, trans: TranslationBundle): CallTreeRow {
  return {
    kind: 'older',
    key: 'calls:older',
    label: trans.__('Show older calls'),
    text: '',
    level: 2,
    isOpen: null,
    setSize: count + 1,
    position: count + 1
  };
}
