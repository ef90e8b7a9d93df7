/** An error message that can be dismissed, next to the row that it concerns. */
import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import type { IHubModel } from '../model/tokens';

interface IBannerProps {
  model: IHubModel;
  subject: string;
  trans: TranslationBundle;
}

export function Banner({
  model,
  subject,
  trans
}: IBannerProps): React.JSX.Element | null {
  const problem = model.problem(subject);
  if (!problem) {
    return null;
  }
  return (
    <div className="jp-nbfn-banner" role="alert">
      <span>{problem.message}</span>
      <button
        className="jp-nbfn-plain"
        aria-label={trans.__('Dismiss')}
        onClick={() => model.dismiss(subject)}
      >
        ×
      </button>
    </div>
  );
}
