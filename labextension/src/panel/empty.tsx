/** One sentence and one button, in place of rows. */
import React from 'react';

export function Empty(props: {
  sentence: React.ReactNode;
  button?: string;
  onClick?: () => void;
  isBusy?: boolean;
}): React.JSX.Element {
  const { sentence, button, onClick, isBusy } = props;
  return (
    <div className="jp-nbfn-empty">
      <p>{sentence}</p>
      {button !== undefined && (
        <button
          className="jp-nbfn-button jp-mod-accept"
          disabled={isBusy}
          onClick={onClick}
        >
          {button}
        </button>
      )}
    </div>
  );
}
