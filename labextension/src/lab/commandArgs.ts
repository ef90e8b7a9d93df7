/** JSON schemas of the arguments of commands. */
import type { CommandRegistry } from '@lumino/commands';

type Described = NonNullable<CommandRegistry.ICommandOptions['describedBy']>;

function described(properties: Record<string, string>): Described {
  return {
    args: {
      type: 'object',
      properties: Object.fromEntries(
        Object.entries(properties).map(([name, description]) => [
          name,
          { type: name === 'index' ? 'integer' : 'string', description }
        ])
      )
    }
  };
}

const FUNCTION = { functionId: 'The id of a Function; asked for if omitted' };
const CALL = { callId: 'The id of a call; asked for if omitted' };
const WORKER = { workerId: 'The id of a worker; asked for if omitted' };

export const NO_ARGS = described({});
export const FUNCTION_ARGS = described(FUNCTION);
export const CALL_ARGS = described(CALL);
export const WORKER_ARGS = described(WORKER);
export const LOG_ARGS = described({
  ...FUNCTION,
  callId: 'The id of a call',
  workerId: 'The id of a worker',
  index: 'The index of an input of the call',
  name: 'The title of the log'
});
export const KERNEL_ARGS = described({
  kernelName: 'The name of the kernel',
  cwd: 'The directory of the notebook'
});
