/**
 * The ids of the commands of this directory and of notebook/ that are not in panel/commandIds.ts. Commands about a
 * row take its id as `functionId`, `callId` or `workerId`; without it, they ask.
 */
export const CommandIds = {
  toggleRemote: 'nbfn:toggle-remote',
  runRemotely: 'nbfn:run-remotely',
  setWarm: 'nbfn:set-warm',
  autoscaler: 'nbfn:autoscaler',
  cancel: 'nbfn:cancel',
  startHub: 'nbfn:start-hub',
  openSidebar: 'nbfn:open-sidebar',
  newNotebook: 'nbfn:new-notebook'
} as const;

/** The arguments of commands about a row. */
export interface IRowArgs {
  functionId?: string;
  callId?: string;
  workerId?: string;
  /** The index of an input of the call. */
  index?: number;
}
