/** The head of a group of rows, which opens and closes it. */
import React from 'react';

export function GroupItem(props: {
  title: string;
  count: string;
  isOpen: boolean;
  onToggle: () => void;
}): React.JSX.Element {
  const { title, count, isOpen, onToggle } = props;
  return (
    <div className="jp-nbfn-group" title={title} onClick={onToggle}>
      <span aria-hidden="true">{isOpen ? '▾' : '▸'}</span>
      <span className="jp-nbfn-name">{title}</span>
      <span className="jp-nbfn-count">{count}</span>
    </div>
  );
}
