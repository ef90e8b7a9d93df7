/** A traceback, as plain text. */
import React from 'react';

import { usePanel } from './context';

export function Traceback({
  text
}: {
  text: string;
}): React.JSX.Element | null {
  const { trans } = usePanel();
  return text ? (
    <pre
      className="jp-nbfn-traceback"
      tabIndex={0}
      role="region"
      aria-label={trans.__('Traceback')}
    >
      {text}
    </pre>
  ) : null;
}
