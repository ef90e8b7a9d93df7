/** One call: its state, how far it is, and what can be done with it. */
import { caretDownIcon, caretRightIcon } from '@jupyterlab/ui-components';
import React from 'react';

import { ago, baseName, duration } from '../model/format';
import type { ICallRow } from '../model/schema';
import { Banner } from './banner';
import { CallBar } from './callBar';
import { CallDetailsView } from './callDetailsView';
import { callName } from './callRows';
import { PanelCommands } from './commandIds';
import { usePanel, useRun } from './context';
import { countsText, retriableInputs } from './counts';
import { MenuButton, RowButton } from './rowButton';
import { callIconState, callStateWord, isOver, StateMark } from './states';
import { useTick } from './tick';

interface ICallProps {
  call: ICallRow;
}

export function CallItem({ call }: ICallProps): React.JSX.Element {
  const { model } = usePanel();
  return (
    <>
      <Head call={call} />
      {isMany(call) && <CallBar call={call} />}
      <Facts call={call} />
      <Banner subject={call.id} />
      {model.isToggled(call.id) && <CallDetailsView call={call} />}
    </>
  );
}

/** Whether the call has, or may get, more than one input. */
function isMany(call: ICallRow): boolean {
  return call.total !== 1 || call.more;
}

function Head({ call }: ICallProps): React.JSX.Element {
  const { model, trans } = usePanel();
  const name = callName(call);
  const isOpen = model.isToggled(call.id);
  const Caret = isOpen ? caretDownIcon : caretRightIcon;
  return (
    <div
      className="jp-nbfn-row jp-nbfn-opens"
      onClick={() => model.toggleCall(call.id)}
    >
      <Caret.react tag="span" className="jp-nbfn-caret" />
      <span
        className="jp-nbfn-name"
        title={`${call.app}/${name} v${call.version} · ${call.id}`}
      >
        {name}
      </span>
      <span className="jp-nbfn-spacer" />
      <StateMark
        state={callIconState(call)}
        word={callStateWord(call.state, trans)}
      />
      <MenuButton label={trans.__('More actions for %1', name)} />
    </div>
  );
}

function Facts({ call }: ICallProps): React.JSX.Element {
  const { model, trans } = usePanel();
  useTick(!model.hub.isStale);
  const now = model.now();
  const seconds = Math.max(0, (call.ended ?? now) - call.started);
  return (
    <div className="jp-nbfn-facts">
      {isMany(call) &&
        countsText(call, trans).map(text => <span key={text}>{text}</span>)}
      <span className="jp-nbfn-age">{duration(seconds)}</span>
      {call.ended !== null && (
        <span>{ago(Math.max(0, now - call.ended), trans)}</span>
      )}
      {call.origin && (
        <span className="jp-nbfn-origin" title={call.origin}>
          {baseName(call.origin)}
        </span>
      )}
      <Action call={call} />
    </div>
  );
}

/** Cancel, or for an ended call what would run again. */
function Action({ call }: ICallProps): React.JSX.Element | null {
  const { model, trans } = usePanel();
  const run = useRun();
  const name = callName(call);
  const action = model.action(call.id);
  const retriable = retriableInputs(call);
  if (!isOver(call.state)) {
    return (
      <RowButton
        text={
          action === 'cancel' ? trans.__('Cancelling…') : trans.__('Cancel')
        }
        label={trans.__('Cancel %1', name)}
        isDisabled={model.hub.isStale || action !== null}
        onClick={() => run(PanelCommands.cancelCall, { callId: call.id })}
      />
    );
  }
  if (retriable === 0 || !call.durable) {
    return null;
  }
  return (
    <RowButton
      text={
        action === 'retry'
          ? trans.__('Retrying…')
          : trans.__('Retry failed and not run (%1)', retriable)
      }
      label={trans.__(
        'Retry failed and not run inputs of %1 (%2)',
        name,
        retriable
      )}
      isDisabled={model.hub.isStale || action !== null}
      onClick={() => run(PanelCommands.retryCall, { callId: call.id })}
    />
  );
}
