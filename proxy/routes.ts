import { METHOD_NAME_ALL } from 'hono/router';
import { RegExpRouter } from 'hono/router/reg-exp-router';
import { SmartRouter } from 'hono/router/smart-router';
import { TrieRouter } from 'hono/router/trie-router';
import { Fault } from '#core/fault.ts';
import { openaiChat } from './wire/openai-chat.ts';
import { openaiEmbeddings } from './wire/openai-embeddings.ts';
import type { Wire } from './wire/wire.ts';

/** What can be asked of the gateway. Paths are the providers' own. */
export type Endpoint =
  | { readonly kind: 'wire'; readonly method: 'POST'; readonly wire: Wire }
  | { readonly kind: 'models' | 'model'; readonly method: 'GET' }
  | { readonly kind: 'probe'; readonly method: 'GET'; readonly probe: Probe };

/** health: the process lives. ready: calls should come here. metrics: for Prometheus. */
export type Probe = 'health' | 'ready' | 'metrics';

const router = new SmartRouter<Endpoint>({ routers: [new RegExpRouter(), new TrieRouter()] });

function add(path: string, endpoint: Endpoint): void {
  router.add(METHOD_NAME_ALL, path, endpoint);
}

add('/v1/chat/completions', { kind: 'wire', method: 'POST', wire: openaiChat });
add('/v1/embeddings', { kind: 'wire', method: 'POST', wire: openaiEmbeddings });
add('/v1/models', { kind: 'models', method: 'GET' });
// Names of models may hold slashes.
add('/v1/models/:model{.+}', { kind: 'model', method: 'GET' });
add('/healthz', { kind: 'probe', method: 'GET', probe: 'health' });
add('/readyz', { kind: 'probe', method: 'GET', probe: 'ready' });
add('/metrics', { kind: 'probe', method: 'GET', probe: 'metrics' });

export const MODEL_PATH = '/v1/models/';

/** Throws the Faults `route_not_found` and `method_not_allowed`. */
export function getEndpoint(method: string, path: string): Endpoint {
  const endpoint = router.match(METHOD_NAME_ALL, path)[0][0]?.[0];
  if (!endpoint) throw new Fault('route_not_found');
  if (method !== endpoint.method) throw new Fault('method_not_allowed', { detail: `It takes ${endpoint.method}.` });
  return endpoint;
}
