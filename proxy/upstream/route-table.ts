import type { Config, RouteRule, UpstreamConfig } from '#config/config.ts';
import { matchesPattern } from '#core/key-policy.ts';

/** Where a model can be sent, and under which name the upstream knows it. */
export interface Target {
  readonly upstream: UpstreamConfig;
  /** Another name than the one asked for; null for the same. */
  readonly model: string | null;
  /** The upstream's address, taken apart once: `https://api.openai.com` and `/v1`. */
  readonly origin: string;
  readonly basePath: string;
}

export interface Route {
  readonly choices: readonly (Target & { readonly weight: number })[];
  readonly fallbacks: readonly Target[];
}

/** Names that are looked up again and again; a caller who makes names up does not fill memory. */
const CACHED_MAX = 1_000;

/** The routes of one configuration. First matching rule wins; without one, the first upstream that has the model. */
export class RouteTable {
  readonly #config: Config;
  readonly #cache = new Map<string, Route>();

  constructor(config: Config) {
    this.#config = config;
  }

  /** Undefined when nothing serves the model. */
  find(model: string): Route | undefined {
    const cached = this.#cache.get(model);
    if (cached) return cached;
    const found = this.#resolve(model);
    if (found && this.#cache.size < CACHED_MAX) this.#cache.set(model, found);
    return found;
  }

  /** Every model that has a name: those of the rules and of the upstreams; what only a pattern covers cannot be listed. */
  listModels(): string[] {
    const names = new Set<string>();
    for (const { model } of this.#config.routes) if (!model.includes('*')) names.add(model);
    for (const upstream of this.#config.upstreams.values()) {
      for (const pattern of upstream.models ?? []) if (!pattern.includes('*')) names.add(pattern);
      if (upstream.provider === null) continue;
      for (const name of this.#config.priceBook.listModels(upstream.provider)) names.add(name);
    }
    return [...names].filter((name) => this.find(name) !== undefined).sort();
  }

  #resolve(model: string): Route | undefined {
    const rule = this.#config.routes.find((candidate) => matchesPattern(candidate.model, model));
    if (rule) return this.#byRule(rule);
    for (const upstream of this.#config.upstreams.values()) {
      if (this.#serves(upstream, model)) {
        return { choices: [{ ...targetOf(upstream, null), weight: 1 }], fallbacks: [] };
      }
    }
    return undefined;
  }

  #byRule(rule: RouteRule): Route | undefined {
    const choices = rule.to.flatMap(({ upstream, model, weight }) => {
      const found = this.#config.upstreams.get(upstream);
      return found ? [{ ...targetOf(found, model), weight }] : [];
    });
    const fallbacks = rule.fallback.flatMap(({ upstream, model }) => {
      const found = this.#config.upstreams.get(upstream);
      return found ? [targetOf(found, model)] : [];
    });
    return choices.length > 0 ? { choices, fallbacks } : undefined;
  }

  #serves(upstream: UpstreamConfig, model: string): boolean {
    if (upstream.models !== null) return upstream.models.some((pattern) => matchesPattern(pattern, model));
    return upstream.provider !== null && this.#config.priceBook.findModel(upstream.provider, model) !== undefined;
  }
}

function targetOf(upstream: UpstreamConfig, model: string | null): Target {
  const { origin, pathname } = new URL(upstream.baseUrl);
  return { upstream, model, origin, basePath: pathname.replace(/\/$/, '') };
}

/** In the order in which they are tried: one choice by weight, then the fallbacks. `random` is in [0, 1). */
export function targetsOf(route: Route, random: number): readonly Target[] {
  return [chooseByWeight(route.choices, random), ...route.fallbacks];
}

function chooseByWeight(choices: Route['choices'], random: number): Target {
  const total = choices.reduce((sum, { weight }) => sum + weight, 0);
  let left = random * total;
  for (const choice of choices) {
    left -= choice.weight;
    if (left < 0) return choice;
  }
  // All weights are zero: the first is as good as any.
  return choices[0] as Target;
}
