/** Why it is slow: where the time of the workers went, the slowest inputs, and the worker that ended last. */
import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import { duration } from '../model/format';
import type { ITimelineSlowInput } from '../model/schema';
import { advice, percent, shares } from './advice';
import { shortWorker } from './text';
import type { TimelineModel } from './timelineModel';

interface IProps {
  model: TimelineModel;
  trans: TranslationBundle;
}

export function SummaryView({
  model,
  trans
}: IProps): React.JSX.Element | null {
  const { summary } = model;
  if (!summary || model.lanes.length === 0) {
    return null;
  }
  const parts = shares(summary, trans).filter(
    part => part.seconds > 0 || part.name === 'running'
  );
  const text = parts
    .map(part => `${part.label} ${percent(part.share)}`)
    .join(', ');
  return (
    <section
      className="jp-nbfn-tl-summary"
      aria-label={trans.__('Where the time went')}
    >
      <div
        className="jp-nbfn-tl-shares"
        role="img"
        aria-label={trans.__('Time of %1 workers: %2', summary.workers, text)}
      >
        {parts.map(part => (
          <div
            key={part.name}
            data-part={part.name}
            style={{ flexGrow: part.share }}
          />
        ))}
      </div>
      <ul className="jp-nbfn-tl-parts">
        {parts.map(part => (
          <li key={part.name} title={part.about}>
            <span
              className="jp-nbfn-tl-swatch"
              data-part={part.name}
              aria-hidden="true"
            />
            {part.label} <b>{percent(part.share)}</b>
          </li>
        ))}
      </ul>
      {advice(summary, trans).map(each => (
        <p key={each} className="jp-nbfn-tl-advice">
          {each}
        </p>
      ))}
      <Facts model={model} trans={trans} />
    </section>
  );
}

function Facts({ model, trans }: IProps): React.JSX.Element | null {
  const { summary } = model;
  if (!summary) {
    return null;
  }
  const critical = model.lanes.find(
    each => each.lane.number === summary.critical_lane
  );
  return (
    <p className="jp-nbfn-tl-facts">
      <span>
        {trans.__(
          '%1 inputs on %2 workers in %3',
          summary.inputs.toLocaleString('en-US'),
          summary.workers,
          duration(summary.end - summary.start)
        )}
      </span>
      {summary.failed > 0 && (
        <button
          className="jp-nbfn-tl-link"
          onClick={() => model.select(model.nextFailure())}
        >
          <span aria-hidden="true">✕ </span>
          {trans._n('%1 failed attempt', '%1 failed attempts', summary.failed)}
        </button>
      )}
      {summary.inputs > 0 && (
        <span>
          {trans.__(
            'half take under %1, 95 % under %2',
            duration(summary.duration_p50),
            duration(summary.duration_p95)
          )}
        </span>
      )}
      {summary.inputs > 0 && (
        <span>
          {trans.__('half wait under %1', duration(summary.wait_p50))}
        </span>
      )}
      {critical && summary.tail > 0 && (
        <button
          className="jp-nbfn-tl-link"
          onClick={() => model.select(critical.spans.at(-1) ?? null)}
        >
          {trans.__(
            'last: %1, alone for %2',
            shortWorker(critical.lane.worker),
            duration(summary.tail)
          )}
        </button>
      )}
      {summary.slowest.length > 0 && (
        <Slowest model={model} trans={trans} slowest={summary.slowest} />
      )}
    </p>
  );
}

function Slowest(
  props: IProps & { slowest: ITimelineSlowInput[] }
): React.JSX.Element {
  const { model, trans, slowest } = props;
  return (
    <span className="jp-nbfn-tl-slowest">
      {trans.__('slowest:')}{' '}
      {slowest.slice(0, 5).map(slow => (
        <button
          key={`${slow.call} ${slow.index} ${slow.attempt} ${slow.started}`}
          className="jp-nbfn-tl-link"
          aria-label={trans.__(
            'Select input %1, which took %2',
            slow.index,
            duration(slow.seconds)
          )}
          onClick={() => {
            const span = model.find(slow.call, slow.index, slow.attempt);
            if (span) {
              model.zoomTo(span);
            } else {
              const room = Math.max(slow.seconds, 0.01);
              model.setWindow({
                start: slow.started - room,
                end: slow.started + slow.seconds + room
              });
            }
          }}
        >
          [{slow.index}] {duration(slow.seconds)}
        </button>
      ))}
    </span>
  );
}
