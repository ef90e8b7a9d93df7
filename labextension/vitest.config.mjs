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
    // Vite transforms every package: those of Lab are ES modules that do not say so, and Node does not
    // find what vitest leaves to it when the path of this clone has a "%".
    server: { deps: { inline: true } }
  }
});
