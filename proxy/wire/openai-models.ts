import type { RouteTable } from '../upstream/route-table.ts';

/** `/v1/models` in OpenAI's form. Weir does not know when a provider made a model: `created` is 0. */
export function modelAnswer(id: string, routes: RouteTable): object {
  const upstream = routes.find(id)?.choices[0]?.upstream;
  return { id, object: 'model', created: 0, owned_by: upstream?.provider ?? upstream?.name ?? 'weir' };
}

export function modelListAnswer(ids: readonly string[], routes: RouteTable): object {
  return { object: 'list', data: ids.map((id) => modelAnswer(id, routes)) };
}
