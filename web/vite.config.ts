import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

// `npm run dev` speaks to a server on its default address; NOWCAST_URL names another.
const server = process.env.NOWCAST_URL ?? 'http://127.0.0.1:9000';

export default defineConfig({
  plugins: [react()],
  build: {
    target: 'es2022',
    // Browsers that know light-dark(): the two themes are written with it, and lowering it would double them.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    // Nothing inline: the server's content policy allows 'self' alone.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 800,
  },
  server: {
    proxy: {
      '/api': { target: server, ws: true, changeOrigin: true },
      '/exec': { target: server, changeOrigin: true },
    },
  },
  test: { include: ['src/**/*.test.{ts,tsx}'], environment: 'node', css: true },
});
