/** The plugins of the extension; each directory exports its own. */
import { displayPlugin } from './display/plugin';
import { modelPlugin } from './model/plugin';
import { panelPlugin } from './panel/plugin';

export default [modelPlugin, panelPlugin, displayPlugin];
