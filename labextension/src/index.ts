/** The plugins of the extension; each directory exports its own. */
import { notificationPlugin } from './display/notificationPlugin';
import { displayPlugin } from './display/plugin';
import { commandsPlugin } from './lab/commandsPlugin';
import { launcherPlugin } from './lab/launcherPlugin';
import { runningPlugin } from './lab/runningPlugin';
import { settingsPlugin } from './lab/settingsPlugin';
import { statusPlugin } from './lab/statusPlugin';
import { logsPlugin } from './logs/plugin';
import { modelPlugin } from './model/plugin';
import { notebookPlugin } from './notebook/plugin';
import { panelPlugin } from './panel/plugin';
import { timelinePlugin } from './timeline/plugin';
import { sessionPlugin } from './session/plugin';

export default [
  modelPlugin,
  settingsPlugin,
  notebookPlugin,
  panelPlugin,
  displayPlugin,
  notificationPlugin,
  sessionPlugin,
  logsPlugin,
  commandsPlugin,
  statusPlugin,
  runningPlugin,
  launcherPlugin,
  timelinePlugin
];
