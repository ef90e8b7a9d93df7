/** The token of the model, for plugins of nbfn and of others. */
import { Token } from '@lumino/coreutils';

import type { HubModel } from './hubModel';

/** What is known of the hub: its Functions, calls and workers, and the requests that change them. */
export type IHubModel = HubModel;

export const IHubModel = new Token<IHubModel>(
  'nbfn:IHubModel',
  'The Functions, calls and workers of the nbfn hub.'
);
