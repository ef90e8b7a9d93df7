import { readFileSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

// The builder hands an imported svg over as text; the tests see the same.
const svgAsText = {
  name: 'svg-as-text',
  enforce: 'pre',
  load(id) {
    if (id.endsWith('.svg')) {
      return `export default ${JSON.stringify(readFileSync(id, 'utf8'))}`;
    }
  }
};

export default defineConfig({
  root: import.meta.dirname,
  plugins: [svgAsText],
  test: {
    environment: 'jsdom',
    css: false,
    setupFiles: ['./vitest.setup.mjs'],
    include: ['src/**/__tests__/*.spec.{ts,tsx}'],
    // Lab's packages are ES modules that do not say so: let vite transform them.
    server: {
      deps: {
        inline: [
          /@jupyterlab\//,
          /@lumino\//,
          /@jupyter\//,
          /@jupyter-widgets\//
        ]
      }
    }
  }
});
