/** An error message that can be dismissed, beside what it concerns. */
import React from 'react';

import { usePanel } from './context';

/** The error of an action on a row, or of 'hub'. */
export function Banner({
  subject
}: {
  subject: string;
}): React.JSX.Element | null {
  const { model, trans } = usePanel();
  const message = model.problem(subject);
  if (message === null) {
    return null;
  }
  return (
    <div className="jp-nbfn-banner" role="alert">
      <span>{message}</span>
      <button
        className="jp-nbfn-plain"
        aria-label={trans.__('Dismiss')}
        title={trans.__('Dismiss')}
        onClick={() => model.dismiss(subject)}
      >
        ×
      </button>
    </div>
  );
}

/** An error that remains until a retry succeeds. */
export function RetryBanner(props: {
  message: string;
  onRetry: () => void;
  label?: string;
}): React.JSX.Element {
  const { trans } = usePanel();
  return (
    <div className="jp-nbfn-banner" role="alert">
      <span>{props.message}</span>
      <button className="jp-nbfn-button" onClick={props.onRetry}>
        {props.label ?? trans.__('Retry now')}
      </button>
    </div>
  );
}
