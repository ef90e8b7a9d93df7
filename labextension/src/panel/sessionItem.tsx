/** One session of the remote kernel: the variables of a notebook, which end with it. */
import React from 'react';

import { baseName, duration } from '../model/format';
import type { ICallRow } from '../model/schema';
import { Banner } from './banner';
import { PanelCommands } from './commandIds';
import { usePanel, useRun } from './context';
import { RowButton } from './rowButton';
import { callStateWord, StateMark } from './states';
import { useTick } from './tick';

export function SessionItem({ call }: { call: ICallRow }): React.JSX.Element {
  const { model, trans } = usePanel();
  const run = useRun();
  useTick(!model.hub.isStale);
  const name = call.origin ? baseName(call.origin) : call.app;
  const isEnding = model.action(call.id) !== null;
  return (
    <>
      <div className="jp-nbfn-row">
        <span className="jp-nbfn-name" title={call.origin || call.app}>
          {name}
        </span>
        <span className="jp-nbfn-spacer" />
        <StateMark state={call.state} word={callStateWord(call.state, trans)} />
      </div>
      <div className="jp-nbfn-facts">
        <span className="jp-nbfn-age">
          {duration(Math.max(0, model.now() - call.started))}
        </span>
        <RowButton
          text={isEnding ? trans.__('Ending…') : trans.__('End session…')}
          label={trans.__('End the session of %1', name)}
          isDisabled={model.hub.isStale || isEnding}
          onClick={() => run(PanelCommands.endSession, { callId: call.id })}
        />
      </div>
      <Banner subject={call.id} />
    </>
  );
}
