import { Fault } from '#core/fault.ts';
import { type KeyPolicy, modelAllowed } from '#core/key-policy.ts';
import type { Match } from './routes.ts';
import type { RouteTable } from './upstream/route-table.ts';
import type { Dialect, ModelSeen } from './wire/dialect.ts';

/** `/v1/models`: what the key may use of what is served here, in the form of the caller's API. Throws `model_not_found`. */
export function modelsAnswer(
  { endpoint, params }: Match,
  dialect: Dialect,
  policy: KeyPolicy,
  routes: RouteTable,
): object {
  if (endpoint.kind === 'models') {
    const models = routes.listModels().filter((model) => modelAllowed(policy.models, model));
    return dialect.models(models.map((model) => modelSeen(model, routes)));
  }
  const model = decoded(params.model ?? '');
  if (model === undefined || !modelAllowed(policy.models, model) || !routes.findAny(model)) {
    throw new Fault('model_not_found');
  }
  return dialect.model(modelSeen(model, routes));
}

function modelSeen(id: string, routes: RouteTable): ModelSeen {
  const upstream = routes.findAny(id)?.choices[0]?.upstream;
  return { id, owner: upstream?.provider ?? upstream?.name ?? 'weir' };
}

/** Undefined where the name is badly encoded: then it is no model. */
function decoded(name: string): string | undefined {
  try {
    return decodeURIComponent(name);
  } catch {
    return undefined;
  }
}
