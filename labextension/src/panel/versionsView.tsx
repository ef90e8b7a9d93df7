/** The versions of a Function, and the way back to one of them. */
import React from 'react';

import { dateTime } from '../model/format';
import type { IFunctionRow, IVersionRow } from '../model/schema';
import { RetryBanner } from './banner';
import { usePanel } from './context';

export function VersionsView({
  row
}: {
  row: IFunctionRow;
}): React.JSX.Element {
  const { model, trans } = usePanel();
  const { value, error } = model.versions.of(row.id);
  return (
    <div
      className="jp-nbfn-details"
      role="group"
      aria-label={trans.__('Versions of %1', row.name)}
    >
      <div className="jp-nbfn-detailsHead">
        <span className="jp-nbfn-name">{trans.__('Versions')}</span>
        <span className="jp-nbfn-spacer" />
        <button
          className="jp-nbfn-plain"
          aria-label={trans.__('Close the versions of %1', row.name)}
          title={trans.__('Close')}
          onClick={() => model.toggleVersions(row.id)}
        >
          ×
        </button>
      </div>
      {error !== null && (
        <RetryBanner
          message={error}
          onRetry={() => void model.versions.load(row.id)}
        />
      )}
      {!value && error === null && <p>{trans.__('Loading…')}</p>}
      {value?.length === 0 && <p>{trans.__('No version was deployed yet.')}</p>}
      <ul className="jp-nbfn-plainList">
        {value?.map(version => (
          <VersionItem key={version.version} row={row} version={version} />
        ))}
      </ul>
    </div>
  );
}

function VersionItem(props: {
  row: IFunctionRow;
  version: IVersionRow;
}): React.JSX.Element {
  const { row, version } = props;
  const { model, trans } = usePanel();
  const isRolling = model.action(row.id) !== null;
  const rollBack = async (): Promise<void> => {
    const action = (): Promise<unknown> =>
      model.api.rollback(row.id, version.version);
    if (await model.act(row.id, 'rollback', action)) {
      await model.versions.load(row.id);
    }
  };
  return (
    <li className="jp-nbfn-row">
      <span>{`v${version.version}`}</span>
      <span className="jp-nbfn-facts">
        {dateTime(version.deployed)}
        {version.by && <span>{version.by}</span>}
        {version.commit && <code>{version.commit.slice(0, 8)}</code>}
        {version.tag && <span>{version.tag}</span>}
      </span>
      <span className="jp-nbfn-spacer" />
      {version.is_current ? (
        <span className="jp-nbfn-badge">{trans.__('current')}</span>
      ) : (
        <button
          className="jp-nbfn-button"
          disabled={isRolling || model.hub.isStale}
          aria-label={trans.__(
            'Roll %1 back to v%2',
            row.name,
            version.version
          )}
          onClick={() => void rollBack()}
        >
          {trans.__('Roll back')}
        </button>
      )}
    </li>
  );
}
