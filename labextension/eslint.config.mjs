import js from '@eslint/js';
import jupyter from '@jupyter/eslint-plugin';
import prettier from 'eslint-config-prettier';
import hooks from 'eslint-plugin-react-hooks';
import globals from 'globals';
import tseslint from 'typescript-eslint';

const typescript = ['**/*.{ts,tsx}'];

export default tseslint.config(
  { ignores: ['**/lib/**', '**/node_modules/**', '**/*.json'] },
  js.configs.recommended,
  {
    files: ['**/*.mjs'],
    languageOptions: { globals: { ...globals.node, ...globals.browser } }
  },
  ...tseslint.configs.strictTypeChecked.map(config => ({
    ...config,
    files: typescript
  })),
  { plugins: { jupyter } },
  {
    files: typescript,
    plugins: { 'react-hooks': hooks },
    languageOptions: {
      globals: globals.browser,
      parserOptions: {
        project: 'tsconfig.test.json',
        tsconfigRootDir: import.meta.dirname
      }
    },
    rules: {
      // Its first part; the second is for settings schemas, with a parser of its own.
      ...jupyter.configs.recommended[0].rules,
      // The panel is all there is, and it is shown at the start.
      'jupyter/prefer-lazy-imports': 'off',
      // Lumino's connect(method, this) binds.
      '@typescript-eslint/unbound-method': 'off',
      ...hooks.configs.recommended.rules,
      curly: 'error',
      eqeqeq: 'error',
      'no-console': 'error',
      '@typescript-eslint/naming-convention': [
        'error',
        {
          selector: 'interface',
          format: ['PascalCase'],
          custom: { regex: '^I[A-Z]', match: true }
        },
        {
          selector: 'memberLike',
          modifiers: ['private'],
          format: ['camelCase'],
          leadingUnderscore: 'require'
        }
      ],
      // Numbers in a sentence need no String().
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true }
      ],
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true }
      ]
    }
  },
  prettier
);
