/** Shown when the filter hides all rows. */
import React from 'react';

import { usePanel } from './context';
import { Empty } from './empty';

export function NothingFound({ what }: { what: string }): React.JSX.Element {
  const { model, trans } = usePanel();
  const { filter } = model;
  const noNotebook = filter.scope === 'notebook' && filter.notebook === null;
  return (
    <Empty
      sentence={noNotebook ? trans.__('No notebook is open.') : what}
      button={trans.__('Show all')}
      onClick={() => filter.clear()}
    />
  );
}
