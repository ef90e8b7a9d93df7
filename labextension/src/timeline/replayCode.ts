/** The code of a cell that runs a failed input again. */

/** The format of ids of calls; nothing else becomes code of a cell. */
const CALL_ID = /^fc-[0-9A-Za-z]{1,40}$/;

/** The magic that runs an input again; null for what is not the id of a call or the index of an input. */
export function replayCode(call: string, index: number): string | null {
  return CALL_ID.test(call) && Number.isSafeInteger(index) && index >= 0
    ? `%fn replay --run ${call}[${index}]`
    : null;
}
