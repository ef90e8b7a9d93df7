/** The icon of the panel, whose CSS classes apply the theme's colours. */
import { LabIcon } from '@jupyterlab/ui-components';

import nbfnSvg from '../../style/nbfn.svg';

export const nbfnIcon = new LabIcon({ name: 'nbfn:nbfn', svgstr: nbfnSvg });
