/** Buttons in a row, which the arrow keys reach; they are not in the tab order. */
import { ellipsesIcon, type LabIcon } from '@jupyterlab/ui-components';
import React from 'react';

interface IRowButtonProps {
  /** The accessible name, which says to what row the action applies. */
  label: string;
  text?: string;
  icon?: LabIcon;
  isDisabled?: boolean;
  hasMenu?: boolean;
  onClick: (event: React.MouseEvent<HTMLButtonElement>) => void;
}

export function RowButton(props: IRowButtonProps): React.JSX.Element {
  const { label, text, icon, isDisabled, hasMenu, onClick } = props;
  return (
    <button
      className={icon ? 'jp-nbfn-iconButton' : 'jp-nbfn-button'}
      data-control="button"
      tabIndex={-1}
      aria-label={label}
      aria-haspopup={hasMenu ? 'menu' : undefined}
      title={label}
      disabled={isDisabled}
      onClick={event => {
        event.stopPropagation();
        onClick(event);
      }}
    >
      {icon ? <icon.react tag="span" width="14px" height="14px" /> : text}
    </button>
  );
}

/** Opens the context menu of the row. */
export function MenuButton({ label }: { label: string }): React.JSX.Element {
  return (
    <RowButton
      icon={ellipsesIcon}
      label={label}
      hasMenu
      onClick={event => {
        const button = event.currentTarget;
        const { left, bottom } = button.getBoundingClientRect();
        button.dispatchEvent(
          new MouseEvent('contextmenu', {
            bubbles: true,
            cancelable: true,
            clientX: left,
            clientY: bottom
          })
        );
      }}
    />
  );
}
