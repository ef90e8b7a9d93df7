/** The Health section: the hub itself, the workers that it has lost, and warnings with what to do. */
import React from 'react';

import { bytes, dateTime, duration } from '../model/format';
import type { IHealth } from '../model/schema';
import { RetryBanner } from './banner';
import { usePanel } from './context';
import { useTick } from './tick';

/** The id under which the model keeps the health of the hub. */
const HUB = 'hub';

export function HealthSection(props: {
  isShown: boolean;
}): React.JSX.Element | null {
  const { model, trans } = usePanel();
  const { hub } = model;
  const { value, error } = model.health.of(HUB);
  const mark = healthMark(model);
  React.useEffect(() => {
    if (props.isShown && mark !== null) {
      void model.health.load(HUB);
    }
  }, [model, props.isShown, mark]);
  if (!hub.overview) {
    return null;
  }
  return (
    <div
      className={hub.isStale ? 'jp-nbfn-health jp-mod-stale' : 'jp-nbfn-health'}
      role="group"
      aria-label={trans.__('The health of the hub')}
      tabIndex={0} // it scrolls
    >
      {error !== null && !hub.isStale && (
        <RetryBanner
          message={error}
          onRetry={() => void model.health.load(HUB)}
        />
      )}
      {value ? (
        <>
          <Warnings health={value} />
          <Facts health={value} isTicking={props.isShown && !hub.isStale} />
          <LostWorkers health={value} />
        </>
      ) : (
        error === null && <p>{trans.__('Loading…')}</p>
      )}
    </div>
  );
}

/** Differs when the health may differ; null while there is no connection. */
function healthMark(
  model: ReturnType<typeof usePanel>['model']
): string | null {
  const { overview, isStale } = model.hub;
  if (!overview || isStale) {
    return null;
  }
  const failing = model.functions
    .filter(row => row.state === 'failing')
    .map(row => row.id);
  return [
    overview.hub.epoch,
    ...failing,
    ...model.workers.map(row => row.id)
  ].join();
}

function Warnings({ health }: { health: IHealth }): React.JSX.Element {
  const { trans } = usePanel();
  if (health.warnings.length === 0) {
    return (
      <p>
        <span
          className="jp-nbfn-state"
          data-state="succeeded"
          aria-hidden="true"
        >
          <span className="jp-nbfn-stateIcon">✓</span>
        </span>{' '}
        {trans.__('Nothing needs attention.')}
      </p>
    );
  }
  return (
    <ul className="jp-nbfn-plainList" aria-label={trans.__('Warnings')}>
      {health.warnings.map((warning, index) => (
        <li key={index} className="jp-nbfn-banner jp-mod-warning">
          <span>
            <strong>{warning.message}</strong> {warning.remedy}
          </span>
        </li>
      ))}
    </ul>
  );
}

function Facts(props: {
  health: IHealth;
  isTicking: boolean;
}): React.JSX.Element {
  const { health, isTicking } = props;
  const { model, trans } = usePanel();
  useTick(isTicking);
  const facts: [string, string][] = [
    [trans.__('Version'), health.version],
    [trans.__('Uptime'), duration(Math.max(0, model.now() - health.started))],
    [trans.__('Database'), bytes(health.database_bytes)],
    [trans.__('Logs'), bytes(health.logs_bytes)],
    [trans.__('Free disk space'), bytes(health.free_bytes)],
    [trans.__('Process'), trans.__('pid %1 on %2', health.pid, health.host)],
    [trans.__('Python'), health.python],
    [trans.__('Folder'), health.home]
  ];
  return (
    <dl className="jp-nbfn-facts">
      {facts.map(([name, value]) => (
        <React.Fragment key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </React.Fragment>
      ))}
    </dl>
  );
}

function LostWorkers({ health }: { health: IHealth }): React.JSX.Element {
  const { trans } = usePanel();
  return (
    <>
      <h4>{trans.__('Last lost workers')}</h4>
      {health.lost_workers.length === 0 ? (
        <p>{trans.__('None since the hub started.')}</p>
      ) : (
        <ul className="jp-nbfn-plainList">
          {health.lost_workers.map(worker => (
            <li key={worker.id}>
              <span className="jp-nbfn-id">{worker.id.slice(0, 9)}</span>{' '}
              {worker.function} · {dateTime(worker.at)}
              <div className="jp-nbfn-reason">{worker.reason}</div>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
