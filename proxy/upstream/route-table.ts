import type { Config, RouteRule, UpstreamConfig } from '#config/config.ts';
import { AGENT_FAMILIES, WIRE_FAMILIES, type WireFamily } from '#config/wires.ts';
import { matchesPattern } from '#core/key-policy.ts';

/** Where a call can be sent: an upstream at its address for one family of wires, and its own name for the model. */
export interface Target {
  readonly upstream: UpstreamConfig;
  readonly family: WireFamily;
  /** Another name than the one asked for; null for the same. */
  readonly model: string | null;
  /** The address, taken apart once: `https://api.openai.com` and `/v1`. */
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
  readonly #caches: Readonly<Record<WireFamily, Map<string, Route>>>;

  constructor(config: Config) {
    this.#config = config;
    this.#caches = {
      openai: new Map(),
      anthropic: new Map(),
      gemini: new Map(),
      vertex: new Map(),
      cohere: new Map(),
      ollama: new Map(),
      azure: new Map(),
      bedrock: new Map(),
      mcp: new Map(),
      a2a: new Map(),
      agent: new Map(),
    };
  }

  /**
   * Undefined when nothing that speaks this family serves the model. Where the model is empty, as for what was stored at
   * a provider, that is the first upstream that speaks it.
   */
  find(model: string, family: WireFamily): Route | undefined {
    const cache = this.#caches[family];
    const cached = cache.get(model);
    if (cached) return cached;
    const found = this.#resolve(model, family);
    if (found && cache.size < CACHED_MAX) cache.set(model, found);
    return found;
  }

  /** The upstream of that name, whatever models it serves; undefined when it does not speak the family. */
  findUpstream(name: string, family: WireFamily): Route | undefined {
    const target = this.#targetOf(name, null, family);
    return target && { choices: [{ ...target, weight: 1 }], fallbacks: [] };
  }

  /** Every model that has a name: those of the rules and of the upstreams; what only a pattern covers cannot be listed. */
  listModels(): string[] {
    const names = new Set<string>();
    for (const { model } of this.#config.routes) if (!model.includes('*')) names.add(model);
    for (const upstream of this.#config.upstreams.values()) {
      for (const pattern of upstream.models ?? []) if (!pattern.includes('*')) names.add(pattern);
      for (const name of this.#config.priceBook.listModels(upstream.provider, upstream.name)) names.add(name);
    }
    return [...names].filter((name) => this.findAny(name) !== undefined).sort();
  }

  /** In whatever family serves it first. Tools and agents are asked for by their paths: they are no models. */
  findAny(model: string): Route | undefined {
    for (const family of WIRE_FAMILIES) {
      if (AGENT_FAMILIES.has(family)) continue;
      const found = this.find(model, family);
      if (found) return found;
    }
    return undefined;
  }

  #resolve(model: string, family: WireFamily): Route | undefined {
    const rule = model === '' ? undefined : this.#config.routes.find((one) => matchesPattern(one.model, model));
    if (rule) return this.#byRule(rule, family);
    for (const upstream of this.#config.upstreams.values()) {
      if (upstream.addresses[family] === undefined) continue;
      if (model === '' || this.#serves(upstream, model)) return this.findUpstream(upstream.name, family);
    }
    return undefined;
  }

  /** What a rule names and what does not speak the family is passed over: the bytes would mean nothing there. */
  #byRule(rule: RouteRule, family: WireFamily): Route | undefined {
    const choices = rule.to.flatMap(({ upstream, model, weight }) => {
      const target = this.#targetOf(upstream, model, family);
      return target ? [{ ...target, weight }] : [];
    });
    const fallbacks = rule.fallback.flatMap(({ upstream, model }) => this.#targetOf(upstream, model, family) ?? []);
    return choices.length > 0 ? { choices, fallbacks } : undefined;
  }

  #targetOf(name: string, model: string | null, family: WireFamily): Target | undefined {
    const upstream = this.#config.upstreams.get(name);
    const address = upstream?.addresses[family];
    if (!upstream || address === undefined) return undefined;
    const { origin, pathname } = new URL(address);
    return { upstream, family, model, origin, basePath: pathname.replace(/\/$/, '') };
  }

  #serves(upstream: UpstreamConfig, model: string): boolean {
    if (upstream.models !== null) return upstream.models.some((pattern) => matchesPattern(pattern, model));
    return this.#config.priceBook.findModel(upstream.provider, model, upstream.name, '')?.listed === true;
  }
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
