/**
 * A tree that draws only the rows in view, with one tab stop: arrow keys move the focus between rows, and into the
 * controls of a row.
 */
import {
  useVirtualizer,
  type Range,
  type Virtualizer
} from '@tanstack/react-virtual';
import React from 'react';

import { controlsOf, nextRow, typeAhead, type ITreeRow } from './treeFocus';

/** Rows drawn beyond the ones in view. */
const OVERSCAN = 6;

interface IVirtualTreeProps<Row extends ITreeRow> {
  rows: readonly Row[];
  /** The accessible name. */
  label: string;
  isStale: boolean;
  /** A row to scroll to and to focus; a new object each time. */
  revealed: { key: string } | null;
  /** The estimated height of a row in pixels. */
  estimate: (row: Row) => number;
  render: (row: Row) => React.ReactNode;
  /** The attributes of the element of a row, such as its class. */
  attributes: (
    row: Row
  ) => React.HTMLAttributes<HTMLElement> & Record<`data-${string}`, string>;
  onToggle: (row: Row) => void;
  /** Enter or the space bar. */
  onEnter: (row: Row) => void;
  onDelete?: (row: Row) => void;
}

type RowVirtualizer = Virtualizer<HTMLDivElement, HTMLDivElement>;

export function VirtualTree<Row extends ITreeRow>(
  props: IVirtualTreeProps<Row>
): React.JSX.Element {
  const { rows, label, isStale } = props;
  const scroll = React.useRef<HTMLDivElement>(null);
  const focus = useRovingFocus(rows);
  const virtualizer = useVirtualizer<HTMLDivElement, HTMLDivElement>({
    count: rows.length,
    getScrollElement: () => scroll.current,
    estimateSize: index => props.estimate(rows[index]),
    getItemKey: index => rows[index].key,
    rangeExtractor: range => withIndex(range, focus.index),
    overscan: OVERSCAN
  });
  const go = useGo(rows, focus, virtualizer, scroll);
  useReveal(props, go);
  const keys = useKeys(props, go);
  return (
    <div ref={scroll} className="jp-nbfn-scroll">
      <div
        role="tree"
        aria-label={label}
        className={isStale ? 'jp-nbfn-tree jp-mod-stale' : 'jp-nbfn-tree'}
        style={{ height: virtualizer.getTotalSize() }}
        onKeyDown={keys}
      >
        {virtualizer.getVirtualItems().map(item => (
          <TreeRow
            key={item.key}
            {...props}
            row={rows[item.index]}
            index={item.index}
            start={item.start}
            isActive={item.index === focus.index}
            measure={virtualizer.measureElement}
            onFocus={focus.set}
          />
        ))}
      </div>
    </div>
  );
}

interface ITreeRowProps<Row extends ITreeRow> extends IVirtualTreeProps<Row> {
  row: Row;
  index: number;
  start: number;
  isActive: boolean;
  measure: (node: HTMLDivElement | null) => void;
  onFocus: (key: string) => void;
}

function TreeRow<Row extends ITreeRow>(
  props: ITreeRowProps<Row>
): React.JSX.Element {
  const { row, index, start, isActive } = props;
  return (
    <div
      {...props.attributes(row)}
      ref={props.measure}
      role="treeitem"
      data-index={index}
      data-key={row.key}
      aria-label={row.label}
      aria-level={row.level}
      aria-setsize={row.setSize}
      aria-posinset={row.position}
      aria-expanded={row.isOpen ?? undefined}
      tabIndex={isActive ? 0 : -1}
      style={{ transform: `translateY(${start}px)` }}
      onFocus={() => props.onFocus(row.key)}
    >
      {props.render(row)}
    </div>
  );
}

/** The rows to draw: those in view, and the one that has the focus or would get it. */
function withIndex(range: Range, index: number): number[] {
  const first = Math.max(0, range.startIndex - range.overscan);
  const last = Math.min(range.count - 1, range.endIndex + range.overscan);
  const found = new Set<number>();
  for (let at = first; at <= last; at += 1) {
    found.add(at);
  }
  if (index >= 0 && index < range.count) {
    found.add(index);
  }
  return [...found].sort((a, b) => a - b);
}

interface IRovingFocus {
  index: number;
  set: (key: string) => void;
}

/** Which row is in the tab order: the last one that had the focus, or else the row in its place. */
function useRovingFocus(rows: readonly ITreeRow[]): IRovingFocus {
  const [active, setActive] = React.useState<string | null>(null);
  const last = React.useRef(0);
  const index = React.useMemo(
    () => (active === null ? 0 : rows.findIndex(row => row.key === active)),
    [rows, active]
  );
  if (index >= 0) {
    last.current = index;
  }
  return {
    index:
      index >= 0 ? index : Math.max(0, Math.min(last.current, rows.length - 1)),
    set: setActive
  };
}

type KeyHandler = (event: React.KeyboardEvent<HTMLElement>) => void;

/** Move the focus to a row. */
type Go = (index: number) => void;

function useGo(
  rows: readonly ITreeRow[],
  focus: IRovingFocus,
  virtualizer: RowVirtualizer,
  scroll: React.RefObject<HTMLDivElement>
): Go {
  return index => {
    const { key } = rows[index];
    focus.set(key);
    virtualizer.scrollToIndex(index);
    const find = (): HTMLElement | undefined =>
      [
        ...(scroll.current?.querySelectorAll<HTMLElement>('[data-key]') ?? [])
      ].find(node => node.dataset.key === key);
    const found = find();
    if (found) {
      found.focus({ preventScroll: true });
    } else {
      // The row is drawn after this event.
      requestAnimationFrame(() => find()?.focus({ preventScroll: true }));
    }
  };
}

/** Move the focus to the row that is revealed, once. */
function useReveal<Row extends ITreeRow>(
  { rows, revealed }: IVirtualTreeProps<Row>,
  go: Go
): void {
  const done = React.useRef(revealed);
  React.useEffect(() => {
    const index = rows.findIndex(row => row.key === revealed?.key);
    if (revealed !== done.current && index >= 0) {
      done.current = revealed;
      go(index);
    }
  });
}

function useKeys<Row extends ITreeRow>(
  props: IVirtualTreeProps<Row>,
  go: Go
): KeyHandler {
  const typed = React.useRef({ text: '', at: 0 });
  const { rows } = props;

  const act = (event: React.KeyboardEvent, row: Row): boolean => {
    switch (event.key) {
      case 'Enter':
      case ' ':
        props.onEnter(row);
        return true;
      case 'Delete':
        props.onDelete?.(row);
        return props.onDelete !== undefined;
      default:
        return false;
    }
  };

  const horizontal = (
    event: React.KeyboardEvent,
    row: Row,
    index: number
  ): boolean => {
    const opens = event.key === 'ArrowRight';
    if (!opens && event.key !== 'ArrowLeft') {
      return false;
    }
    if (row.isOpen !== null && row.isOpen !== opens) {
      props.onToggle(row);
    } else if (opens && rows[index + 1]?.level > row.level) {
      go(index + 1);
    } else if (opens) {
      controlsOf(event.target as HTMLElement)[0]?.focus();
    } else {
      const parent = parentOf(rows, index);
      if (parent >= 0) {
        go(parent);
      }
    }
    return true;
  };

  const search = (event: React.KeyboardEvent, index: number): boolean => {
    if (event.key.length !== 1 || event.ctrlKey || event.metaKey) {
      return false;
    }
    const found = typeAhead(typed.current, event.key, rows, index);
    if (found !== null) {
      go(found);
    }
    return true;
  };

  return event => {
    const target = event.target as HTMLElement;
    if (target.getAttribute('role') !== 'treeitem') {
      moveInRow(event, target);
      return;
    }
    if (event.altKey) {
      return;
    }
    const index = Number(target.dataset.index);
    const row = rows[index];
    const next = nextRow(event.key, index, rows.length);
    if (next !== null) {
      go(next);
    } else if (
      !act(event, row) &&
      !horizontal(event, row, index) &&
      !search(event, index)
    ) {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };
}

/** The index of the row above that contains a row; -1 if there is none. */
function parentOf(rows: readonly ITreeRow[], index: number): number {
  let at = index - 1;
  while (at >= 0 && rows[at].level >= rows[index].level) {
    at -= 1;
  }
  return at;
}

/** Between the controls of a row by the left and right arrow keys, and back to the row by Escape. */
function moveInRow(event: React.KeyboardEvent, target: HTMLElement): void {
  const row = target.closest<HTMLElement>('[role=treeitem]');
  if (!row) {
    return;
  }
  if (event.key === 'Escape') {
    event.preventDefault();
    row.focus();
    return;
  }
  if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') {
    return;
  }
  const controls = controlsOf(row);
  const at = controls.indexOf(target);
  if (at < 0) {
    return; // a field of a form has its own cursor
  }
  event.preventDefault();
  const next = at + (event.key === 'ArrowRight' ? 1 : -1);
  (next < 0 ? row : controls[Math.min(next, controls.length - 1)]).focus();
}
