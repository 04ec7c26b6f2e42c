import { matchesPattern } from '#core/key-policy.ts';
import type { Config, RouteRule, UpstreamConfig } from './config.ts';

/** One place to send a request to, and the name under which the model is known there. */
export interface RouteTarget {
  readonly upstream: UpstreamConfig;
  readonly model: string;
}

export interface ServedModel {
  readonly model: string;
  /** Whose model it is: the provider, or the upstream where there is none. */
  readonly owner: string;
}

/** Where the calls for one model may go first, by weight, each with what is tried after it. */
interface Choices {
  readonly lists: readonly (readonly RouteTarget[])[];
  readonly weights: readonly number[];
  readonly weightSum: number;
}

/** Names asked for are the caller's to choose: the cache starts anew when it holds this many. */
const NAMES_CACHED_MAX = 10_000;
const NAME_LENGTH_CACHED_MAX = 200;

const cached = new WeakMap<Config, Map<string, Choices>>();
const served = new WeakMap<Config, readonly ServedModel[]>();

/**
 * Where to send a request for a model, in the order in which to try; empty when no upstream serves it. The first rule
 * that matches holds: one of its `to`, chosen by weight, then its fallbacks. Without a rule, the upstreams that have
 * the model, in the order of the file. `random` is at least 0 and below 1, and decides the choice.
 */
export function resolveRoute(config: Config, model: string, random: number): readonly RouteTarget[] {
  const { lists, weights, weightSum } = findChoices(config, model);
  let rest = random * weightSum;
  for (let i = 0; i < lists.length; i++) {
    rest -= weights[i] ?? 0;
    if (rest < 0) return lists[i] ?? [];
  }
  return [];
}

function findChoices(config: Config, model: string): Choices {
  let names = cached.get(config);
  if (!names) {
    names = new Map();
    cached.set(config, names);
  }
  const known = names.get(model);
  if (known) return known;
  const rule = config.routes.find((one) => matchesPattern(one.model, model));
  const choices = rule ? choicesOfRule(config, rule, model) : choicesWithoutRule(config, model);
  if (model.length > NAME_LENGTH_CACHED_MAX) return choices;
  if (names.size >= NAMES_CACHED_MAX) names.clear();
  names.set(model, choices);
  return choices;
}

function choicesOfRule(config: Config, rule: RouteRule, model: string): Choices {
  const target = (to: { upstream: string; model: string | null }): RouteTarget => {
    const upstream = config.upstreams.get(to.upstream);
    if (!upstream) throw new Error(`no upstream ${to.upstream}`);
    return { upstream, model: to.model ?? model };
  };
  const fallback = rule.fallback.map(target);
  return {
    lists: rule.to.map((to) => {
      const first = target(to);
      return [first, ...fallback.filter((one) => one.upstream !== first.upstream || one.model !== first.model)];
    }),
    weights: rule.to.map((to) => to.weight),
    weightSum: rule.to.reduce((sum, to) => sum + to.weight, 0),
  };
}

function choicesWithoutRule(config: Config, model: string): Choices {
  const list = [...config.upstreams.values()]
    .filter((upstream) => isServedBy(config, upstream, model))
    .map((upstream) => ({ upstream, model }));
  return { lists: [list], weights: [1], weightSum: 1 };
}

function isServedBy(config: Config, { models, provider }: UpstreamConfig, model: string): boolean {
  if (models !== null) return models.some((pattern) => matchesPattern(pattern, model));
  return provider !== null && config.priceBook.findModel(provider, model) !== undefined;
}

/** Every model that can be named: those of rules and upstreams that are no patterns, and the catalogue's. */
export function listServedModels(config: Config): readonly ServedModel[] {
  const known = served.get(config);
  if (known) return known;
  const owners = new Map<string, string>();
  const add = (model: string, owner: string): void => {
    if (!model.includes('*') && !owners.has(model)) owners.set(model, owner);
  };
  for (const rule of config.routes) {
    const upstream = config.upstreams.get(rule.to[0]?.upstream ?? '');
    if (upstream) add(rule.model, upstream.provider ?? upstream.name);
  }
  for (const upstream of config.upstreams.values()) {
    const owner = upstream.provider ?? upstream.name;
    for (const model of upstream.models ?? []) add(model, owner);
    for (const model of upstream.provider === null ? [] : config.priceBook.listModels(upstream.provider)) {
      if (isServedBy(config, upstream, model)) add(model, owner);
    }
  }
  const list = [...owners].map(([model, owner]) => ({ model, owner }));
  served.set(config, list);
  return list;
}
