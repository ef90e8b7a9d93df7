/** The form of a call: a field for each parameter, then the running call and its result or error. */
import React from 'react';

import { duration } from '../model/format';
import type { IField, IFunctionRow } from '../model/schema';
import type { CallForm } from './callForm';
import { usePanel } from './context';
import { insertResult } from './insertResult';
import { Traceback } from './traceback';
import { callStateWord, callIconState, StateMark } from './states';
import { useTick } from './tick';

interface IFormProps {
  form: CallForm;
  row: IFunctionRow;
}

export function CallFormView({
  row
}: {
  row: IFunctionRow;
}): React.JSX.Element | null {
  const { model, trans } = usePanel();
  const form = model.form(row.id);
  const node = React.useRef<HTMLFormElement>(null);
  const isLoaded = Boolean(form?.details);
  React.useEffect(() => {
    const first = node.current?.querySelector<HTMLElement>('[data-first]');
    if (isLoaded) {
      first?.focus();
    }
  }, [isLoaded]);
  // A new object after each submission with an invalid field.
  const [wrong, setWrong] = React.useState<{ name: string } | null>(null);
  React.useEffect(() => {
    const field = wrong && node.current?.elements.namedItem(wrong.name);
    if (field instanceof HTMLElement) {
      field.focus();
    }
  }, [wrong]);
  if (!form) {
    return null;
  }
  const submit = async (): Promise<void> => {
    const name = await form.submit(trans);
    setWrong(name === null ? null : { name });
  };
  return (
    <form
      ref={node}
      className="jp-nbfn-details"
      aria-label={trans.__('Call %1', row.name)}
      noValidate
      onSubmit={event => {
        event.preventDefault();
        void submit();
      }}
      onKeyDown={event => {
        // Keys of a form are not keys of the row.
        event.stopPropagation();
        if (event.key === 'Escape') {
          event.currentTarget.closest<HTMLElement>('[role=treeitem]')?.focus();
        }
      }}
    >
      <Signature form={form} row={row} />
      {form.fields.map((field, index) => (
        <FieldView key={field.name} form={form} field={field} index={index} />
      ))}
      <Buttons form={form} row={row} />
      {form.error !== null && (
        <div className="jp-nbfn-banner" role="alert">
          <span>{form.error}</span>
        </div>
      )}
      <Progress form={form} row={row} />
      <Outcome form={form} row={row} />
    </form>
  );
}

function Signature({ form, row }: IFormProps): React.JSX.Element {
  const { trans } = usePanel();
  const { details } = form;
  if (!details) {
    return <p>{form.error === null ? trans.__('Loading…') : ''}</p>;
  }
  return (
    <>
      <code className="jp-nbfn-signature">
        {details.name}
        {details.signature}
      </code>
      {details.doc && (
        <p className="jp-nbfn-doc">{details.doc.split('\n\n')[0]}</p>
      )}
      {details.methods.length > 0 && (
        <label className="jp-nbfn-field">
          <span>{trans.__('method')}</span>
          <select
            value={form.method}
            disabled={form.isBusy}
            aria-label={trans.__('Method of %1', row.name)}
            onChange={event => form.chooseMethod(event.target.value)}
          >
            {details.methods.map(method => (
              <option key={method.name}>{method.name}</option>
            ))}
          </select>
        </label>
      )}
    </>
  );
}

interface IFieldProps {
  form: CallForm;
  field: IField;
  index: number;
}

function FieldView({ form, field, index }: IFieldProps): React.JSX.Element {
  const id = React.useId();
  const error = form.fieldError(field);
  return (
    <div className="jp-nbfn-field">
      <label htmlFor={id}>
        {field.role === 'args' ? '*' : field.role === 'kwargs' ? '**' : ''}
        {field.name}
        {field.about && <span className="jp-nbfn-about">{field.about}</span>}
      </label>
      <FieldInput
        form={form}
        field={field}
        id={id}
        error={error === null ? undefined : `${id}-error`}
        isFirst={index === 0}
      />
      {error !== null && (
        <span id={`${id}-error`} className="jp-nbfn-fieldError" role="alert">
          {error}
        </span>
      )}
    </div>
  );
}

function FieldInput(props: {
  form: CallForm;
  field: IField;
  id: string;
  error: string | undefined;
  isFirst: boolean;
}): React.JSX.Element {
  const { form, field, id, error, isFirst } = props;
  const { trans } = usePanel();
  const value = form.value(field);
  const common = {
    id,
    name: field.name,
    disabled: form.isBusy,
    'aria-invalid': error !== undefined,
    'aria-describedby': error,
    'data-first': isFirst ? '' : undefined
  };
  if (typeof value === 'boolean') {
    return (
      <input
        {...common}
        type="checkbox"
        checked={value}
        onChange={event => form.set(field, event.target.checked)}
      />
    );
  }
  if (field.kind === 'choice') {
    return (
      <select
        {...common}
        value={value}
        onChange={event => form.set(field, event.target.value)}
      >
        {field.choices.map(choice => (
          <option key={choice}>{choice}</option>
        ))}
      </select>
    );
  }
  return (
    <input
      {...common}
      type="text"
      inputMode={
        field.kind === 'int'
          ? 'numeric'
          : field.kind === 'float'
            ? 'decimal'
            : 'text'
      }
      autoComplete="off"
      spellCheck={false}
      placeholder={
        field.default === null && field.kind === 'expression'
          ? trans.__('JSON or a Python literal')
          : undefined
      }
      required={field.default === null && field.kind !== 'str'}
      value={value}
      onChange={event => form.set(field, event.target.value)}
    />
  );
}

function Buttons({ form, row }: IFormProps): React.JSX.Element {
  const { model, trans } = usePanel();
  return (
    <div className="jp-nbfn-buttons">
      <button
        type="submit"
        className="jp-nbfn-button jp-mod-accept"
        data-first={form.fields.length === 0 ? '' : undefined}
        disabled={!form.details || form.isBusy || model.hub.isStale}
      >
        {trans.__('Call')}
      </button>
      {form.isBusy && form.callId !== null && (
        <button
          type="button"
          className="jp-nbfn-button"
          disabled={form.isCancelling}
          onClick={() => void form.cancel()}
        >
          {form.isCancelling ? trans.__('Cancelling…') : trans.__('Cancel')}
        </button>
      )}
      <span className="jp-nbfn-spacer" />
      <button
        type="button"
        className="jp-nbfn-plain"
        aria-label={trans.__('Close the form of %1', row.name)}
        title={trans.__('Close')}
        onClick={event => {
          const item =
            event.currentTarget.closest<HTMLElement>('[role=treeitem]');
          model.closeForm(row.id);
          item?.focus();
        }}
      >
        ×
      </button>
    </div>
  );
}

function Progress({ form }: IFormProps): React.JSX.Element | null {
  const { model, trans } = usePanel();
  const { call } = form;
  useTick(form.isBusy);
  if (!call) {
    return null;
  }
  const seconds = (call.ended ?? model.now()) - call.started;
  return (
    <div className="jp-nbfn-facts" role="status">
      <StateMark
        state={callIconState(call)}
        word={callStateWord(call.state, trans)}
      />
      <span>{duration(Math.max(0, seconds))}</span>
      <span className="jp-nbfn-id">{call.id.slice(0, 9)}</span>
    </div>
  );
}

function Outcome({ form, row }: IFormProps): React.JSX.Element | null {
  const { notebooks, trans } = usePanel();
  const { outcome } = form;
  if (!outcome) {
    return null;
  }
  if (outcome.result === null) {
    return (
      <Traceback
        text={outcome.traceback ?? outcome.errors.at(0)?.traceback ?? ''}
      />
    );
  }
  return (
    <div
      role="group"
      aria-label={trans.__('Result of %1', row.name)}
      className="jp-nbfn-result"
    >
      <pre tabIndex={0}>{outcome.result}</pre>
      <div className="jp-nbfn-buttons">
        <button
          type="button"
          className="jp-nbfn-button"
          disabled={!notebooks || notebooks.currentPath === null}
          title={
            notebooks?.currentPath
              ? trans.__('Insert a cell that binds the result')
              : trans.__('Open a notebook to insert the result')
          }
          onClick={() => {
            if (notebooks) {
              void insertResult(outcome.call, notebooks);
            }
          }}
        >
          {trans.__('Insert into notebook')}
        </button>
      </div>
    </div>
  );
}
