/** The icons of nbfn, whose CSS classes apply the theme's colours. */
import { LabIcon } from '@jupyterlab/ui-components';

import consoleSvg from '../../style/console.svg';
import logsSvg from '../../style/logs.svg';
import nbfnSvg from '../../style/nbfn.svg';
import notebookSvg from '../../style/notebook.svg';
import remoteNotebookSvg from '../../style/remote-notebook.svg';
import runRemotelySvg from '../../style/run-remotely.svg';

export const nbfnIcon = new LabIcon({ name: 'nbfn:nbfn', svgstr: nbfnSvg });

export const runRemotelyIcon = new LabIcon({
  name: 'nbfn:run-remotely',
  svgstr: runRemotelySvg
});

export const logsIcon = new LabIcon({ name: 'nbfn:logs', svgstr: logsSvg });

export const workerConsoleIcon = new LabIcon({
  name: 'nbfn:console',
  svgstr: consoleSvg
});

export const notebookIcon = new LabIcon({
  name: 'nbfn:notebook',
  svgstr: notebookSvg
});

export const remoteNotebookIcon = new LabIcon({
  name: 'nbfn:remote-notebook',
  svgstr: remoteNotebookSvg
});
