/** The same spans as a table, for screen readers and for those who prefer text. */
import type { TranslationBundle } from '@jupyterlab/translation';
import React, { useMemo, useState } from 'react';

import { duration } from '../model/format';
import { offset } from './layout';
import { inputName, MARKS, outcomeText } from './text';
import type { TimelineModel } from './timelineModel';
import { isFailure, type ISpan } from './types';

/** Rows that are added at a time. */
const PAGE = 200;

interface IProps {
  model: TimelineModel;
  trans: TranslationBundle;
}

export function Table({ model, trans }: IProps): React.JSX.Element {
  const [shown, setShown] = useState(PAGE);
  const [failed, setFailed] = useState(false);
  const { start, end } = model.window;
  const spans = useMemo(
    () => visibleSpans(model, start, end, failed),
    // eslint-disable-next-line react-hooks/exhaustive-deps
    [model, start, end, failed, model.loadedAt]
  );
  return (
    <div
      className="jp-nbfn-tl-tableBox"
      tabIndex={0}
      role="region"
      aria-label={trans.__('Inputs as a table')}
    >
      <label className="jp-nbfn-tl-only">
        <input
          type="checkbox"
          checked={failed}
          onChange={event => setFailed(event.target.checked)}
        />
        {trans.__('Only failures')}
      </label>
      <table className="jp-nbfn-tl-table">
        <caption>
          {model.isBinned
            ? trans.__('There are too many inputs for a table. Zoom in.')
            : trans.__('%1 inputs in the visible time', spans.length)}
        </caption>
        <thead>
          <tr>
            <th scope="col">{trans.__('Input')}</th>
            <th scope="col">{trans.__('State')}</th>
            <th scope="col">{trans.__('Started')}</th>
            <th scope="col">{trans.__('Duration')}</th>
            <th scope="col">{trans.__('Waited')}</th>
            <th scope="col">{trans.__('Attempt')}</th>
            <th scope="col">{trans.__('Worker')}</th>
          </tr>
        </thead>
        <tbody>
          {spans.slice(0, shown).map(span => (
            <Row
              key={`${span.call.id} ${span.index} ${span.attempt} ${span.started}`}
              span={span}
              model={model}
              trans={trans}
            />
          ))}
        </tbody>
      </table>
      {spans.length > shown && (
        <button
          className="jp-nbfn-button"
          onClick={() => setShown(shown + PAGE)}
        >
          {trans.__('Show more')}
        </button>
      )}
    </div>
  );
}

function Row(props: IProps & { span: ISpan }): React.JSX.Element {
  const { span, model, trans } = props;
  return (
    <tr aria-selected={model.selected === span} data-outcome={span.outcome}>
      <th scope="row">
        <button className="jp-nbfn-tl-link" onClick={() => model.select(span)}>
          {inputName(span)}
        </button>
      </th>
      <td className="jp-nbfn-tl-outcome" data-outcome={span.outcome}>
        <span aria-hidden="true">{MARKS[span.outcome]} </span>
        {outcomeText(span.outcome, trans)}
      </td>
      <td>{offset(span.started - model.origin, 0.001)}</td>
      <td>{duration(span.ended - span.started)}</td>
      <td>{duration(Math.max(span.started - span.queued, 0))}</td>
      <td>{span.attempt}</td>
      <td>{span.lane.worker}</td>
    </tr>
  );
}

function visibleSpans(
  model: TimelineModel,
  start: number,
  end: number,
  failed: boolean
): ISpan[] {
  return model.lanes
    .flatMap(data =>
      data.spans.filter(
        span =>
          span.ended >= start &&
          span.started <= end &&
          (!failed || isFailure(span.outcome))
      )
    )
    .sort((a, b) => a.started - b.started);
}
