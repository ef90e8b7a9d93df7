/** The commands in the menus of the panel. A menu omits a command that is not registered. */

/** Commands of lab/ and other plugins. The comment names their arguments. */
export const LabCommands = {
  /** {functionId} */
  goToCell: 'nbfn:go-to-cell',
  /** {functionId} */
  insertCall: 'nbfn:insert-call',
  /** {functionId} */
  insertImport: 'nbfn:insert-import',
  /** None: a cell with an example of `%%remote`. */
  insertExample: 'nbfn:insert-example',
  /** {functionId?, callId?, workerId?, index?} */
  openLogs: 'nbfn:open-logs',
  /** {callId?} */
  openTimeline: 'nbfn:open-timeline',
  /** {callId}: a cell that shows the call in the current notebook. */
  attachCall: 'nbfn:attach-call',
  /** {workerId} */
  openConsole: 'nbfn:open-console',
  /** None: asks for the address of a hub. */
  connectHub: 'nbfn:connect-hub'
} as const;

/** Commands of the panel, which opens and shows the row that they concern. */
export const PanelCommands = {
  /** {functionId}: opens the form made from the signature. */
  callFunction: 'nbfn:call-function',
  /** {functionId} */
  showAutoscaler: 'nbfn:show-autoscaler',
  /** {functionId} */
  showVersions: 'nbfn:show-versions',
  /** {functionId} */
  stopFunction: 'nbfn:stop-function',
  /** {functionId} */
  deleteFunction: 'nbfn:delete-function',
  /** {callId}: opens its row. */
  showCall: 'nbfn:show-call',
  /** {callId} */
  cancelCall: 'nbfn:cancel-call',
  /** {callId}: a session of the remote kernel; asks before it ends it. */
  endSession: 'nbfn:end-session',
  /** {callId} */
  retryCall: 'nbfn:retry-call',
  /** {id} */
  copyId: 'nbfn:copy-id',
  /** None: fetches everything that the panel shows. */
  refresh: 'nbfn:refresh',
  /** {workerId} */
  drainWorker: 'nbfn:drain-worker',
  /** {workerId} */
  stopWorker: 'nbfn:stop-worker'
} as const;
