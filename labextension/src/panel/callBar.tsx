/** How far a call is: the shares of its inputs that succeeded, failed, were cancelled, and run. */
import React from 'react';

import type { ICallRow } from '../model/schema';
import { callName } from './callRows';
import { usePanel } from './context';
import { countsText, endedInputs, progressText } from './counts';

export function CallBar({ call }: { call: ICallRow }): React.JSX.Element {
  const { trans } = usePanel();
  const total = Math.max(1, call.total);
  const width = (count: number): React.CSSProperties => ({
    width: `${Math.min(100, (100 * count) / total)}%`
  });
  return (
    <div className="jp-nbfn-progress">
      <div
        className="jp-nbfn-bar"
        role="progressbar"
        aria-label={trans.__('Progress of %1', callName(call))}
        aria-valuemin={0}
        aria-valuemax={call.more ? undefined : call.total}
        aria-valuenow={call.more ? undefined : endedInputs(call)}
        aria-valuetext={[progressText(call), ...countsText(call, trans)].join(
          ', '
        )}
      >
        <div className="jp-nbfn-barDone" style={width(call.succeeded)} />
        <div className="jp-nbfn-barFailed" style={width(call.failed)} />
        <div className="jp-nbfn-barCancelled" style={width(call.cancelled)} />
        <div className="jp-nbfn-barRunning" style={width(call.running)} />
      </div>
      <span className="jp-nbfn-progressText" aria-hidden="true">
        {progressText(call)}
      </span>
    </div>
  );
}
