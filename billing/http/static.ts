import { readFileSync } from 'node:fs';
import type { Env, Hono } from 'hono';

/**
 * The pages of web/, read once at start: plain modules, no build. Nothing is loaded from elsewhere, no script or style
 * stands inline, and no other site may frame or be posted to.
 */
const HTML = 'text/html; charset=utf-8';
const SCRIPT = 'text/javascript; charset=utf-8';
const FILES: readonly (readonly [path: string, file: string, type: string])[] = [
  ['/', 'index.html', HTML],
  ['/docs', 'docs/index.html', HTML],
  ['/docs/docs.js', 'docs/docs.js', SCRIPT],
  ...['api', 'dom', 'format', 'invoices', 'keys', 'line', 'live', 'main', 'panel', 'preview', 'unpriced', 'usage'].map(
    (name) => [`/console/${name}.js`, `console/${name}.js`, SCRIPT] as const,
  ),
  ['/style.css', 'style.css', 'text/css; charset=utf-8'],
  ['/icon.svg', 'icon.svg', 'image/svg+xml'],
];

const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

export function staticFiles<E extends Env>(hono: Hono<E>): void {
  const root = new URL('../../web/', import.meta.url);
  for (const [path, file, type] of FILES) {
    const content = readFileSync(new URL(file, root), 'utf8');
    hono.get(path, (c) =>
      c.body(content, 200, {
        'content-type': type,
        'content-security-policy': CONTENT_SECURITY_POLICY,
        'referrer-policy': 'no-referrer',
        'cache-control': 'no-cache',
      }),
    );
  }
}
