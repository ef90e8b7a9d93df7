/** Keyboard navigation in a tree: one item is in the tab order, arrow keys move the focus to the others. */
import type React from 'react';

export function moveFocus(event: React.KeyboardEvent<HTMLElement>): void {
  const item = event.target;
  if (
    !(item instanceof HTMLElement) ||
    item.getAttribute('role') !== 'treeitem'
  ) {
    return; // a stepper or a button handles its keys itself
  }
  const target = next(event.key, item, event.currentTarget);
  if (target === null) {
    return;
  }
  event.preventDefault();
  if (target === 'toggle') {
    item.querySelector<HTMLElement>('.jp-nbfn-appName')?.click();
    return;
  }
  item.tabIndex = -1;
  target.tabIndex = 0;
  target.focus();
}

function next(
  key: string,
  item: HTMLElement,
  tree: HTMLElement
): HTMLElement | 'toggle' | null {
  const items = [...tree.querySelectorAll<HTMLElement>('[role=treeitem]')];
  const at = items.indexOf(item);
  const expanded = item.getAttribute('aria-expanded');
  switch (key) {
    case 'ArrowDown':
      return items[at + 1] ?? null;
    case 'ArrowUp':
      return items[at - 1] ?? null;
    case 'Home':
      return items[0] ?? null;
    case 'End':
      return items[items.length - 1] ?? null;
    case 'ArrowRight':
      return expanded === 'false'
        ? 'toggle'
        : (expanded && items[at + 1]) || null;
    case 'ArrowLeft':
      return expanded === 'true'
        ? 'toggle'
        : (item.parentElement?.closest<HTMLElement>('[role=treeitem]') ?? null);
    case 'Enter':
    case ' ':
      return expanded ? 'toggle' : item.querySelector<HTMLElement>('input');
    default:
      return null;
  }
}
