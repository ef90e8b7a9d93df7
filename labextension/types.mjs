// Generates src/model/schema.ts from nbfn/jupyter/server/schema.py: node labextension/types.mjs [--check]
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { compile } from 'json-schema-to-typescript';
import { format, resolveConfig } from 'prettier';

const TARGET = join(import.meta.dirname, 'src', 'model', 'schema.ts');
const BANNER =
  '/** Generated from nbfn/jupyter/server/schema.py by "make types"; do not edit. */';

const python = process.env.PYTHON ?? 'python';
const schema = JSON.parse(
  execFileSync(python, ['-m', 'nbfn.jupyter.server.json_schema'], {
    cwd: join(import.meta.dirname, '..'),
    encoding: 'utf8'
  })
);
const compiled = await compile(schema, 'Root', {
  bannerComment: BANNER,
  unreachableDefinitions: true,
  format: false
});
// The root has no properties of its own, and the comments need not say how they were generated.
const text = compiled
  .replace(/export interface Root \{\s*\}/, '')
  .replace(
    /(\n \*)*\n \* This .* was referenced by `Root`.*\n.*`definition` "\w+"\./g,
    ''
  )
  .replace(/(\n \* ?)+(?=\n \*\/)/g, '')
  .replace(/\/\*\*\n \*\/\n/g, '');
const options = await resolveConfig(TARGET);
const generated = await format(text, { ...options, filepath: TARGET });

if (process.argv.includes('--check')) {
  if (readFileSync(TARGET, 'utf8') !== generated) {
    console.error('src/model/schema.ts is not current. Run: make types');
    process.exit(1);
  }
} else {
  writeFileSync(TARGET, generated);
}
