/** The arguments that the texts of a form stand for, or an error for each field that is not valid. */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IField } from '../model/schema';
import { isRounded, LiteralError, readLiteral } from './pythonLiteral';

export type FieldValue = string | boolean;

export interface IFormArguments {
  arguments: Record<string, unknown>;
  /** Errors by the name of the field. */
  errors: Map<string, string>;
}

/** What a field shows before the user changes it. */
export function initialValue(field: IField): FieldValue {
  if (field.kind === 'bool') {
    return field.default === 'True';
  }
  return field.default ?? (field.kind === 'choice' ? field.choices[0] : '');
}

/** Fields that show their default are omitted, since the default may have no JSON form. */
export function formArguments(
  fields: readonly IField[],
  valueOf: (field: IField) => FieldValue,
  trans: TranslationBundle
): IFormArguments {
  const found: Record<string, unknown> = {};
  const errors = new Map<string, string>();
  for (const field of fields) {
    const value = valueOf(field);
    if (isDefault(field, value)) {
      continue;
    }
    try {
      found[field.name] = read(field, value, trans);
    } catch (reason) {
      if (!(reason instanceof LiteralError)) {
        throw reason;
      }
      errors.set(field.name, trans.__('%1 %2.', field.name, reason.message));
    }
  }
  return { arguments: found, errors };
}

function isDefault(field: IField, value: FieldValue): boolean {
  if (field.default === null) {
    return false;
  }
  return (
    value === initialValue(field) || (value === '' && field.kind !== 'str')
  );
}

function read(
  field: IField,
  value: FieldValue,
  trans: TranslationBundle
): unknown {
  if (typeof value === 'boolean' || field.kind === 'str') {
    return value;
  }
  const text = value.trim();
  if (text === '') {
    throw new LiteralError(trans.__('is missing'));
  }
  switch (field.kind) {
    case 'int':
      return number(text, /^[+-]?\d[\d_]*$/, trans.__('is not an integer'));
    case 'float':
      return number(
        text,
        /^[+-]?(\d[\d_]*\.?\d*|\.\d+)([eE][+-]?\d+)?$/,
        trans.__('is not a number')
      );
    default:
      return readLiteral(text);
  }
}

function number(text: string, pattern: RegExp, problem: string): number {
  if (!pattern.test(text)) {
    throw new LiteralError(problem);
  }
  const value = Number(text.replaceAll('_', ''));
  if (isRounded(value)) {
    throw new LiteralError('is too large to be sent exactly from this page');
  }
  return value;
}
