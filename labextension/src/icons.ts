/** The icon of the panel; its classes let it follow the theme. */
import { LabIcon } from '@jupyterlab/ui-components';

import nbfnSvg from '../style/nbfn.svg';

export const nbfnIcon = new LabIcon({ name: 'nbfn:nbfn', svgstr: nbfnSvg });
