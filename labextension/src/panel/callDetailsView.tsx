/** What an open call shows: why it waits, its errors, its result, the end of its log, and actions. */
import React from 'react';

import { dateTime } from '../model/format';
import type {
  ICallDetails,
  ICallRow,
  IErrorGroup,
  ILogRow
} from '../model/schema';
import { RetryBanner } from './banner';
import { callName } from './callRows';
import { LabCommands, PanelCommands } from './commandIds';
import { usePanel, useRun } from './context';
import { Traceback } from './traceback';

interface ICallProps {
  call: ICallRow;
}

export function CallDetailsView({ call }: ICallProps): React.JSX.Element {
  const { model, trans } = usePanel();
  const { value, error } = model.details.of(call.id);
  return (
    <div
      className="jp-nbfn-details"
      role="group"
      aria-label={trans.__('Details of %1', callName(call))}
      onKeyDown={event => {
        if (event.target instanceof HTMLPreElement) {
          event.stopPropagation(); // it scrolls
        }
      }}
    >
      {error !== null && (
        <RetryBanner message={error} onRetry={() => model.openCall(call.id)} />
      )}
      {!value && error === null && <p>{trans.__('Loading…')}</p>}
      {value && <Outcome details={value} />}
      <LogEnd lines={model.logs.of(call.id).value ?? []} />
      <Actions call={call} />
    </div>
  );
}

function Outcome({ details }: { details: ICallDetails }): React.JSX.Element {
  const { trans } = usePanel();
  return (
    <>
      {details.waiting_for && (
        <div className="jp-nbfn-waiting">{details.waiting_for}</div>
      )}
      {details.errors.length > 0 ? (
        <ul
          className="jp-nbfn-plainList"
          aria-label={trans.__('Errors of %1', callName(details.call))}
        >
          {details.errors.map((group, index) => (
            <ErrorItem key={index} group={group} />
          ))}
        </ul>
      ) : (
        details.traceback && <Traceback text={details.traceback} />
      )}
      {details.result !== null && (
        <pre className="jp-nbfn-result" tabIndex={0}>
          {details.result}
        </pre>
      )}
      {details.is_expired && (
        <p>{trans.__('The results are no longer stored.')}</p>
      )}
      {details.kept_until !== null && !details.is_expired && (
        <p>
          {trans.__(
            'The results are kept until %1.',
            dateTime(details.kept_until)
          )}
        </p>
      )}
    </>
  );
}

function ErrorItem({ group }: { group: IErrorGroup }): React.JSX.Element {
  const { trans } = usePanel();
  const [isOpen, setOpen] = React.useState(false);
  const title = group.message ? `${group.type}: ${group.message}` : group.type;
  return (
    <li className="jp-nbfn-error">
      <div className="jp-nbfn-errorTitle">
        <span aria-hidden="true">▲</span> {title}
      </div>
      <div className="jp-nbfn-facts">
        <span>{trans.__('%1×', group.count)}</span>
        {group.where && <span>{group.where}</span>}
        <span>{inputsText(group, trans)}</span>
        {group.traceback && (
          <button
            className="jp-nbfn-link"
            data-control="traceback"
            aria-expanded={isOpen}
            onClick={() => setOpen(!isOpen)}
          >
            {trans.__('Traceback')}
          </button>
        )}
      </div>
      {isOpen && <Traceback text={group.traceback} />}
    </li>
  );
}

function inputsText(
  group: IErrorGroup,
  trans: ReturnType<typeof usePanel>['trans']
): string {
  const list = group.indexes.join(', ');
  return group.count > group.indexes.length
    ? trans.__('inputs %1, …', list)
    : trans._n('input %2', 'inputs %2', group.indexes.length, list);
}

function LogEnd({
  lines
}: {
  lines: readonly ILogRow[];
}): React.JSX.Element | null {
  const { trans } = usePanel();
  if (lines.length === 0) {
    return null;
  }
  return (
    <pre
      className="jp-nbfn-log"
      tabIndex={0}
      role="region"
      aria-label={trans.__('The end of the log')}
    >
      {lines.map(line => (
        <span key={line.id} data-source={line.source}>
          <span className="jp-nbfn-logIndex">{line.index}</span>{' '}
          {line.message.replace(/\n$/, '')}
          {'\n'}
        </span>
      ))}
    </pre>
  );
}

function Actions({ call }: ICallProps): React.JSX.Element {
  const { commands, notebooks, trans } = usePanel();
  const run = useRun();
  const args = { callId: call.id };
  const canAttach =
    call.durable && notebooks !== null && notebooks.currentPath !== null;
  return (
    <div className="jp-nbfn-buttons">
      {commands.hasCommand(LabCommands.attachCall) && (
        <button
          className="jp-nbfn-button"
          disabled={!canAttach}
          title={
            call.durable
              ? trans.__('Insert a cell that shows the call in this notebook')
              : trans.__('Only spawned calls can be attached')
          }
          onClick={() => run(LabCommands.attachCall, args)}
        >
          {trans.__('Attach here')}
        </button>
      )}
      {commands.hasCommand(LabCommands.openLogs) && (
        <button
          className="jp-nbfn-button"
          onClick={() => run(LabCommands.openLogs, args)}
        >
          {trans.__('Logs')}
        </button>
      )}
      {commands.hasCommand(LabCommands.openTimeline) && (
        <button
          className="jp-nbfn-button"
          onClick={() => run(LabCommands.openTimeline, args)}
        >
          {trans.__('Timeline')}
        </button>
      )}
      <button
        className="jp-nbfn-button"
        onClick={() => run(PanelCommands.copyId, { id: call.id })}
      >
        {trans.__('Copy id')}
      </button>
    </div>
  );
}
