/** Which Functions a remote cell defines, and whether they are registered, edited or running. */
import type { ICallRow, IFunctionRow, IOverview } from '../model/schema';
import { hasRegisteredCode, type IRemoteCell } from './remoteCell';

/** The state of a remote cell. */
export interface ICellState {
  /** Rows of the Functions that the cell defines and that are registered. */
  rows: IFunctionRow[];
  registration: 'new' | 'registered' | 'edited';
  /** The versions that run now, the oldest first. */
  running: number[];
}

/** Returns the registered source of a Function, null while it is not known. */
export type SourceOf = (row: IFunctionRow) => string | null;

/** A notebook, for finding its Functions. */
export interface INotebookPlace {
  /** Relative to the root of the server. */
  path: string;
  /** The same as a path of the server's file system; empty if it is not known. */
  file: string;
}

export function stateOf(
  cell: IRemoteCell,
  place: INotebookPlace,
  overview: IOverview | null,
  sourceOf: SourceOf
): ICellState {
  const rows = (overview?.functions ?? []).filter(row =>
    isDefinedBy(row, cell, place)
  );
  return {
    rows,
    registration: registrationOf(cell, rows, sourceOf),
    running: runningVersions(rows, overview?.calls ?? [])
  };
}

/** Whether a cell of a notebook defines the Function of a row. */
export function isDefinedBy(
  row: IFunctionRow,
  cell: IRemoteCell,
  place: INotebookPlace
): boolean {
  if (!cell.names.some(name => name.normalize('NFKC') === row.name)) {
    return false;
  }
  if (cell.app !== null) {
    return row.app === cell.app.normalize('NFKC');
  }
  return isOwner(row, place) || row.app === appName(place.path);
}

/** Whether a notebook registered the Function of a row. */
export function isOwner(row: IFunctionRow, place: INotebookPlace): boolean {
  const owner = row.owner;
  return owner !== '' && (owner === place.file || owner === place.path);
}

function registrationOf(
  cell: IRemoteCell,
  rows: IFunctionRow[],
  sourceOf: SourceOf
): ICellState['registration'] {
  if (rows.length === 0) {
    return 'new';
  }
  const isEdited = rows.some(row => {
    const source = sourceOf(row);
    return source !== null && !hasRegisteredCode(cell.body, source);
  });
  return isEdited ? 'edited' : 'registered';
}

function runningVersions(
  rows: readonly IFunctionRow[],
  calls: readonly ICallRow[]
): number[] {
  const ids = new Set(rows.map(row => row.id));
  const versions = calls
    .filter(call => call.state === 'running' && ids.has(call.function_id))
    .map(call => call.version);
  return [...new Set(versions)].sort((a, b) => a - b);
}

/** The name that an App has after a notebook's file, but for names that are too long. */
export function appName(path: string): string {
  const file = path.slice(path.lastIndexOf('/') + 1).normalize('NFKC');
  const stem = file.replace(/\.[^.]*$/, '');
  return stem
    .replace(/[^\p{L}\p{N}\p{M}_.-]+/gu, '-')
    .replace(/^[-.]+|[-.]+$/g, '');
}
