import { Fault } from '#core/fault.ts';
import { type Halt, type KeyPolicy, matchesPattern } from '#core/key-policy.ts';
import type { PolicySource } from './policies/policy-table.ts';
import type { Route, Target } from './upstream/route-table.ts';

/** Who calls and which model it asks for: what a halt is compared with. */
export interface Halted {
  readonly policy: Pick<KeyPolicy, 'customer' | 'key'>;
  readonly model: string;
}

const NONE: readonly Halt[] = [];

/** The operator's halts that are in force. While there are none, a call pays one comparison for them. */
export class Halts {
  readonly #bySource: Record<PolicySource, readonly Halt[]> = { config: NONE, billing: NONE };
  /** Those that refuse callers, and those that close routes. */
  #callers = NONE;
  #routes = NONE;

  /** All halts of a source; those that it had before are lifted. */
  use(source: PolicySource, halts: readonly Halt[]): void {
    this.#bySource[source] = halts;
    const all = [...this.#bySource.config, ...this.#bySource.billing];
    this.#callers = all.filter((halt) => !namesRoute(halt));
    this.#routes = all.filter(namesRoute);
  }

  /** The halt that keeps this caller out; of several, one that ends calls in flight. */
  findCaller(policy: Halted['policy']): Halt | undefined {
    return strictest(this.#callers, (halt) => isOfCaller(halt, policy));
  }

  /** The halt that keeps this call from this upstream, likewise. */
  findTarget({ policy, model }: Halted, target: Target): Halt | undefined {
    return strictest(
      this.#routes,
      (halt) =>
        isOfCaller(halt, policy) &&
        (halt.upstream === null || halt.upstream === target.upstream.name) &&
        (halt.model === null ||
          matchesPattern(halt.model, model) ||
          (target.model !== null && matchesPattern(halt.model, target.model))),
    );
  }

  /** The route without what is halted. Throws `model_halted` when nothing is left of it. */
  routeLeft(call: Halted, route: Route): Route {
    if (this.#routes.length === 0) return route;
    const choices = route.choices.filter((target) => !this.findTarget(call, target));
    const [first, ...rest] = route.fallbacks.filter((target) => !this.findTarget(call, target));
    if (choices.length > 0) return { choices, fallbacks: first ? [first, ...rest] : [] };
    if (!first) throw new Fault('model_halted');
    return { choices: [{ ...first, weight: 1 }], fallbacks: rest };
  }
}

function namesRoute({ upstream, model }: Halt): boolean {
  return upstream !== null || model !== null;
}

function isOfCaller({ customer, key }: Halt, policy: Halted['policy']): boolean {
  return (customer === null || customer === policy.customer) && (key === null || key === policy.key);
}

function strictest(halts: readonly Halt[], matches: (halt: Halt) => boolean): Halt | undefined {
  if (halts.length === 0) return undefined;
  const found = halts.filter(matches);
  return found.find(({ cutOpen }) => cutOpen) ?? found[0];
}
