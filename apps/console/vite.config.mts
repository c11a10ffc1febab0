import { defineConfig, type Plugin } from 'vite';

/** The built page needs nothing but itself, and says so to the browser. */
const CONTENT_SECURITY_POLICY =
  "default-src 'self'; base-uri 'self'; form-action 'self'; object-src 'none'; require-trusted-types-for 'script'";

/** Only in the build: the development server injects scripts of its own. */
const declareContentSecurityPolicy: Plugin = {
  name: 'declare-content-security-policy',
  apply: 'build',
  transformIndexHtml: () => [
    {
      tag: 'meta',
      attrs: { 'http-equiv': 'Content-Security-Policy', content: CONTENT_SECURITY_POLICY },
      injectTo: 'head-prepend',
    },
  ],
};

export default defineConfig({
  root: import.meta.dirname,
  // Relative, so that the page also works behind a proxy that adds a path.
  base: './',
  publicDir: false,
  plugins: [declareContentSecurityPolicy],
  // JSX is set in tsconfig.json; libs are only imported for their types and never bundled.
  build: {
    outDir: '../../dist/console',
    emptyOutDir: true,
    target: 'es2022',
    // No data: addresses, the content security policy refuses them.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: { proxy: { '/v1': process.env['VOLLEY_URL'] ?? 'http://127.0.0.1:7400' } },
});
