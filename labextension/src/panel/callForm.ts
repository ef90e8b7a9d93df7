/** A call made from a form: its fields, their errors, and the call that it has started. */
import type { TranslationBundle } from '@jupyterlab/translation';
import { Signal, type ISignal } from '@lumino/signaling';

import type {
  ICallDetails,
  ICallRequest,
  ICallRow,
  ICallStarted,
  IField,
  IFunctionDetails
} from '../model/schema';
import { formArguments, initialValue, type FieldValue } from './formArguments';
import { messageOf } from '../model/problems';
import { fieldOf } from './requests';
import { isOver } from './states';

export interface IFormRequests {
  functionDetails(functionId: string): Promise<IFunctionDetails>;
  call(functionId: string, request: ICallRequest): Promise<ICallStarted>;
  callDetails(callId: string): Promise<ICallDetails>;
  cancelCall(callId: string): Promise<unknown>;
}

export class CallForm {
  constructor(
    readonly functionId: string,
    api: IFormRequests
  ) {
    this._api = api;
    void this._load();
  }

  /** Emits when any property has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** null until the details of the Function have arrived. */
  get details(): IFunctionDetails | null {
    return this._details;
  }

  /** The method to call; empty for a Function that is not a class. */
  get method(): string {
    return this._method;
  }

  get fields(): readonly IField[] {
    const methods = this._details?.methods ?? [];
    return (
      methods.find(each => each.name === this._method)?.fields ??
      this._details?.fields ??
      []
    );
  }

  /** An error that belongs to no field. */
  get error(): string | null {
    return this._error;
  }

  /** The newest row of the call that was started last. */
  get call(): ICallRow | null {
    return this._call;
  }

  get callId(): string | null {
    return this._callId;
  }

  /** The result or error of the call, when it has ended. */
  get outcome(): ICallDetails | null {
    return this._outcome;
  }

  /** Whether a call is being started or runs. */
  get isBusy(): boolean {
    return this._isSending || (this._callId !== null && !this._outcome);
  }

  get isCancelling(): boolean {
    return this._isCancelling;
  }

  value(field: IField): FieldValue {
    return this._values.get(field.name) ?? initialValue(field);
  }

  fieldError(field: IField): string | null {
    return this._fieldErrors.get(field.name) ?? null;
  }

  set(field: IField, value: FieldValue): void {
    this._values.set(field.name, value);
    this._fieldErrors.delete(field.name);
    this._emit();
  }

  chooseMethod(name: string): void {
    this._method = name;
    this._values.clear();
    this._fieldErrors.clear();
    this._emit();
  }

  /** Start the call. Returns the first field whose text is not valid; null if there is none. */
  async submit(trans: TranslationBundle): Promise<string | null> {
    if (!this._details || this.isBusy) {
      return null;
    }
    this._begin();
    const read = formArguments(this.fields, field => this.value(field), trans);
    this._fieldErrors = read.errors;
    if (read.errors.size === 0) {
      await this._send(read.arguments);
    }
    this._isSending = false;
    this._emit();
    return this.fields.find(each => this.fieldError(each))?.name ?? null;
  }

  async cancel(): Promise<void> {
    if (this._callId === null) {
      return;
    }
    this._isCancelling = true;
    this._emit();
    try {
      await this._api.cancelCall(this._callId);
    } catch (reason) {
      this._isCancelling = false;
      this._error = messageOf(reason);
    }
    this._emit();
  }

  /** Take the newest row of the call. */
  follow(call: ICallRow): void {
    if (call === this._call) {
      return;
    }
    this._call = call;
    if (isOver(call.state) && !this._outcome && !this._isFetching) {
      void this._fetchOutcome(call.id);
    }
    this._emit();
  }

  dispose(): void {
    this._isDisposed = true;
    Signal.clearData(this);
  }

  private _begin(): void {
    this._error = null;
    this._callId = this._call = this._outcome = null;
    this._isCancelling = false;
    this._isSending = true;
    this._emit();
  }

  private async _send(values: Record<string, unknown>): Promise<void> {
    try {
      const request = { arguments: values, method: this._method };
      this._callId = (await this._api.call(this.functionId, request)).call;
    } catch (reason) {
      const name = fieldOf(reason);
      if (name !== null && this.fields.some(each => each.name === name)) {
        this._fieldErrors.set(name, messageOf(reason));
      } else {
        this._error = messageOf(reason);
      }
    }
  }

  private async _load(): Promise<void> {
    try {
      this._details = await this._api.functionDetails(this.functionId);
      this._method = this._details.methods.at(0)?.name ?? '';
    } catch (reason) {
      this._error = messageOf(reason);
    }
    this._emit();
  }

  private async _fetchOutcome(callId: string): Promise<void> {
    this._isFetching = true;
    try {
      const outcome = await this._api.callDetails(callId);
      if (callId === this._callId) {
        this._outcome = outcome;
      }
    } catch (reason) {
      this._error = messageOf(reason);
      this._callId = null;
    }
    this._isFetching = false;
    this._emit();
  }

  private _emit(): void {
    if (!this._isDisposed) {
      this._changed.emit();
    }
  }

  private readonly _api: IFormRequests;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _values = new Map<string, FieldValue>();
  private _fieldErrors = new Map<string, string>();
  private _details: IFunctionDetails | null = null;
  private _method = '';
  private _error: string | null = null;
  private _callId: string | null = null;
  private _call: ICallRow | null = null;
  private _outcome: ICallDetails | null = null;
  private _isSending = false;
  private _isFetching = false;
  private _isCancelling = false;
  private _isDisposed = false;
}
