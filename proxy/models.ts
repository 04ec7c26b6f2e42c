import { Fault } from '#core/fault.ts';
import { type KeyPolicy, modelAllowed } from '#core/key-policy.ts';
import { type Endpoint, MODEL_PATH } from './routes.ts';
import type { RouteTable } from './upstream/route-table.ts';

/** `/v1/models`: what the key may use of what is served here, in OpenAI's form. Throws `model_not_found`. */
export function modelsAnswer(endpoint: Endpoint, path: string, policy: KeyPolicy, routes: RouteTable): object {
  const may = (model: string): boolean => modelAllowed(policy.models, model);
  if (endpoint.kind === 'models') {
    const models = routes.listModels().filter(may);
    return { object: 'list', data: models.map((model) => modelAnswer(model, routes)) };
  }
  const model = modelOfPath(path);
  if (model === undefined || !may(model) || !routes.find(model)) throw new Fault('model_not_found');
  return modelAnswer(model, routes);
}

/** Weir does not know when a provider made a model: `created` is 0. */
function modelAnswer(id: string, routes: RouteTable): object {
  const upstream = routes.find(id)?.choices[0]?.upstream;
  return { id, object: 'model', created: 0, owned_by: upstream?.provider ?? upstream?.name ?? 'weir' };
}

/** Undefined where the name is badly encoded: then it is no model. */
function modelOfPath(path: string): string | undefined {
  try {
    return decodeURIComponent(path.slice(MODEL_PATH.length));
  } catch {
    return undefined;
  }
}
