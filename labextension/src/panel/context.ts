/** What all views of the panel share. */
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import React from 'react';

import type { PanelModel } from './panelModel';
import type { INotebooks } from './tokens';

export interface IPanelContext {
  model: PanelModel;
  commands: CommandRegistry;
  notebooks: INotebooks | null;
  trans: TranslationBundle;
}

export const PanelContext = React.createContext<IPanelContext | null>(null);

export function usePanel(): IPanelContext {
  const context = React.useContext(PanelContext);
  if (!context) {
    throw new Error('A view of the panel needs a PanelContext.');
  }
  return context;
}

/** Execute a command if a plugin has registered it. */
export type Run = (id: string, args?: ReadonlyPartialJSONObject) => void;

export function useRun(): Run {
  const { commands } = usePanel();
  return (id, args) => {
    if (commands.hasCommand(id)) {
      void commands.execute(id, args);
    }
  };
}
