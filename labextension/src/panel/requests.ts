/** The requests of the panel; the server extension answers them, tests do it in memory. */
import type {
  IAutoscaler,
  IAutoscalerChange,
  ICallDetails,
  ICallRequest,
  ICallRetried,
  ICallsPage,
  ICallsQuery,
  ICallStarted,
  IFunctionDetails,
  IHealth,
  ILogsPage,
  ILogsQuery,
  IRolledBack,
  IStopped,
  IVersions
} from '../model/schema';

export interface IPanelApi {
  functionDetails(functionId: string): Promise<IFunctionDetails>;
  setAutoscaler(
    functionId: string,
    change: IAutoscalerChange
  ): Promise<IAutoscaler>;
  versions(functionId: string): Promise<IVersions>;
  rollback(functionId: string, version: number): Promise<IRolledBack>;
  stopFunction(functionId: string): Promise<IStopped>;
  deleteFunction(functionId: string): Promise<unknown>;
  call(functionId: string, request: ICallRequest): Promise<ICallStarted>;
  calls(query: ICallsQuery): Promise<ICallsPage>;
  callDetails(callId: string): Promise<ICallDetails>;
  cancelCall(callId: string): Promise<unknown>;
  /** Cancel the call that is the session of a notebook, whose variables are lost. */
  endSession(callId: string): Promise<unknown>;
  retryCall(callId: string): Promise<ICallRetried>;
  logs(query: ILogsQuery): Promise<ILogsPage>;
  drainWorker(workerId: string): Promise<unknown>;
  stopWorker(workerId: string): Promise<unknown>;
  health(): Promise<IHealth>;
  startHub(): Promise<unknown>;
}

/** The field of a form that a failed request names; null if it names none. */
export function fieldOf(reason: unknown): string | null {
  if (typeof reason === 'object' && reason !== null && 'field' in reason) {
    return typeof reason.field === 'string' ? reason.field : null;
  }
  return null;
}
