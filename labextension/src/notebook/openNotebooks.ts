/** Follows the remote cells of all open notebooks: marks them, and answers which Functions they define. */
import type { Cell } from '@jupyterlab/cells';
import { PageConfig, PathExt } from '@jupyterlab/coreutils';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';
import { Throttler } from '@lumino/polling';
import { Signal, type ISignal } from '@lumino/signaling';

import type { IHubModel } from '../model/tokens';
import type { IFunctionRow } from '../model/schema';
import type { IUserSettings } from '../model/userSettings';
import type { INotebooks } from '../panel/tokens';
import { showMark } from './cellMark';
import {
  isDefinedBy,
  isOwner,
  stateOf,
  type ICellState,
  type INotebookPlace
} from './cellStates';
import { insertBelow, writableNotebook } from './insertCell';
import type { RegisteredSources } from './registeredSources';
import { parseRemoteCell, type IRemoteCell } from './remoteCell';

/** Milliseconds between two updates of the marks. */
const INTERVAL = 200;

/** A remote cell of an open notebook. */
export interface IOpenCell {
  panel: NotebookPanel;
  index: number;
  cell: Cell;
  remote: IRemoteCell;
}

export class OpenNotebooks implements INotebooks {
  constructor(
    private readonly _tracker: INotebookTracker,
    private readonly _model: IHubModel,
    private readonly _sources: RegisteredSources,
    private readonly _settings: IUserSettings,
    private readonly _trans: TranslationBundle
  ) {
    this._update = new Throttler(() => this._refresh(), INTERVAL);
    const update = (): void => void this._update.invoke();
    _tracker.widgetAdded.connect((_, panel) => this._follow(panel));
    _tracker.currentChanged.connect(update);
    _model.stateChanged.connect(update);
    _sources.changed.connect(update);
    _settings.changed.connect(update);
    _tracker.forEach(panel => this._follow(panel));
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get currentPath(): string | null {
    return this._tracker.currentWidget?.context.path ?? null;
  }

  isEdited(row: IFunctionRow): boolean {
    return this._edited.has(row.id);
  }

  isInCurrent(row: IFunctionRow): boolean {
    const panel = this._tracker.currentWidget;
    if (!panel) {
      return false;
    }
    const place = placeOf(panel);
    return (
      isOwner(row, place) ||
      this._cells(panel).some(each => isDefinedBy(row, each.remote, place))
    );
  }

  insert(code: string): Promise<boolean> {
    const panel = writableNotebook(this._tracker);
    if (panel) {
      insertBelow(panel, code);
    }
    return Promise.resolve(panel !== null);
  }

  unusedName(base: string): string {
    const panel = this._tracker.currentWidget;
    const code = (panel?.content.widgets ?? [])
      .map(cell => cell.model.sharedModel.getSource())
      .join('\n');
    const used = new Set(code.match(/[\p{L}_][\p{L}\p{N}_]*/gu) ?? []);
    let name = base;
    for (let number = 2; used.has(name); number += 1) {
      name = `${base}_${number}`;
    }
    return name;
  }

  /** The cell that defines the Function, in the current notebook if it is there. */
  find(row: IFunctionRow): IOpenCell | null {
    const panels: NotebookPanel[] = [];
    this._tracker.forEach(panel => panels.push(panel));
    const current = this._tracker.currentWidget;
    panels.sort((a, b) => Number(b === current) - Number(a === current));
    for (const panel of panels) {
      const place = placeOf(panel);
      const found = this._cells(panel).find(each =>
        isDefinedBy(row, each.remote, place)
      );
      if (found) {
        return found;
      }
    }
    return null;
  }

  private _follow(panel: NotebookPanel): void {
    const update = (): void => void this._update.invoke();
    panel.content.modelContentChanged.connect(update);
    panel.content.modelChanged.connect(update);
    panel.content.cellInViewportChanged.connect(update);
    panel.context.pathChanged.connect(update);
    panel.disposed.connect(update);
    update();
  }

  private _refresh(): void {
    const before = [...this._edited].join();
    this._edited.clear();
    let hasRemote = false;
    this._tracker.forEach(panel => {
      hasRemote = this._mark(panel) || hasRemote;
    });
    this._observe(hasRemote);
    const now = [...this._edited].join();
    const path = this.currentPath;
    if (now !== before || path !== this._path) {
      this._path = path;
      this._changed.emit();
    }
  }

  /** Mark the cells of a notebook; return whether it has a remote one. */
  private _mark(panel: NotebookPanel): boolean {
    const place = placeOf(panel);
    const states = new Map<Cell, ICellState>();
    for (const { cell, remote } of this._cells(panel)) {
      const state = stateOf(remote, place, this._model.overview, row =>
        this._sources.get(row)
      );
      states.set(cell, state);
      if (state.registration === 'edited') {
        state.rows.forEach(row => this._edited.add(row.id));
      }
    }
    const isShown = this._settings.values.marks;
    for (const cell of panel.content.widgets) {
      showMark(cell, (isShown && states.get(cell)) || null, this._trans);
    }
    return states.size > 0;
  }

  /** Have the model fetch changes while a notebook shows marks. */
  private _observe(wanted: boolean): void {
    if (wanted && !this._observation) {
      this._observation = this._model.observe();
    } else if (!wanted) {
      this._observation?.dispose();
      this._observation = null;
    }
  }

  private _cells(panel: NotebookPanel): IOpenCell[] {
    const found: IOpenCell[] = [];
    panel.content.widgets.forEach((cell, index) => {
      const remote =
        cell.model.type === 'code'
          ? parseRemoteCell(cell.model.sharedModel.getSource())
          : null;
      if (remote && remote.names.length > 0) {
        found.push({ panel, index, cell, remote });
      }
    });
    return found;
  }

  private readonly _update: Throttler;
  private readonly _edited = new Set<string>();
  private readonly _changed = new Signal<this, void>(this);
  private _observation: IDisposable | null = null;
  private _path: string | null = null;
}

/** The root directory of the server, as nbfn/jupyter/server/extension.py writes it into the page. */
export const ROOT_OPTION = 'nbfnRootDir';

function placeOf(panel: NotebookPanel): INotebookPlace {
  // A drive's name before a ":" is not part of the file's path.
  const path = panel.context.path.replace(/^[^/:]*:/, '');
  const root = PageConfig.getOption(ROOT_OPTION);
  return { path, file: root ? PathExt.join(root, path) : '' };
}
