/** Applies a change to an overview. Rows that have not changed stay the same objects, so that views can compare them. */
import type { IOverview, IOverviewChange } from './schema';

interface IRow {
  id: string;
}

/** The overview after a change that continues it. */
export function applyChange(
  overview: IOverview,
  change: IOverviewChange
): IOverview {
  const gone = new Set(change.gone);
  return {
    stream: overview.stream,
    revision: change.revision,
    now: change.now,
    hub: change.hub ?? overview.hub,
    unfinished: change.unfinished,
    functions: patched(overview.functions, change.functions, gone),
    calls: patched(overview.calls, change.calls, gone),
    workers: patched(overview.workers, change.workers, gone)
  };
}

/** A row that is not known has all fields in its patch. */
function patched<Row extends IRow>(
  rows: Row[],
  patches: IRow[],
  gone: Set<string>
): Row[] {
  if (patches.length === 0 && !rows.some(row => gone.has(row.id))) {
    return rows;
  }
  const left = new Map(patches.map(patch => [patch.id, patch]));
  const kept: Row[] = [];
  for (const row of rows) {
    const patch = left.get(row.id);
    left.delete(row.id);
    if (patch !== undefined) {
      kept.push({ ...row, ...patch });
    } else if (!gone.has(row.id)) {
      kept.push(row);
    }
  }
  return [...kept, ...([...left.values()] as Row[])];
}
