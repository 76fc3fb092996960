import { defineConfig } from 'vite';

// The live client as one file, which the server hands out as /client.js beside the page.
export default defineConfig({
  build: {
    target: 'es2022',
    emptyOutDir: false,
    copyPublicDir: false,
    lib: { entry: '../clients/js/src/index.ts', formats: ['es'], fileName: () => 'client.js' },
  },
});
