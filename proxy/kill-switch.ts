import { Fault } from '#core/fault.ts';
import type { Halt, KeyPolicy } from '#core/key-policy.ts';
import { checkKey } from './caller.ts';
import type { Flight, Flights } from './flight.ts';
import { Halts } from './halts.ts';
import type { MaybePromise } from './limits/counters.ts';
import type { Policies } from './policies/policies.ts';
import type { PolicySource, PolicyTable } from './policies/policy-table.ts';

/**
 * What an operator switches off. Calls that begin from now on meet it in `halts` and in their key's policy; this ends
 * those that have begun: all of them where it is asked for (`cutOpen`), and always those that no upstream has yet.
 */
export class KillSwitch {
  readonly halts = new Halts();
  readonly #flights: Flights;
  /** How often policies have. */
  #changes = 0;

  constructor(flights: Flights) {
    this.#flights = flights;
  }

  /** What billing switches off, from now on. */
  follow(table: PolicyTable): void {
    this.use('billing', table.halts());
    table.onChange({
      policies: (changed) => this.recheck(changed),
      halts: (halts) => this.use('billing', halts),
    });
  }

  /** All halts of a source; those that it had before are lifted. */
  use(source: PolicySource, halts: readonly Halt[]): void {
    this.halts.use(source, halts);
    for (const flight of this.#flights.list()) {
      const { policy, model, target } = flight;
      if (!policy) continue;
      const paused = this.halts.findCaller(policy);
      if (paused) endOrLetEnd(flight, 'paused', paused);
      // Before it is sent, every attempt looks for itself.
      if (model !== null && target && this.halts.findTarget({ policy, model }, target)?.cutOpen) flight.stop('halted');
    }
  }

  /**
   * Who calls is known from here on. What changes while the key is looked up ends only calls whose caller is known: it is
   * looked up again then. Throws what `checkKey` does, and `customer_paused`.
   */
  pass(flight: Flight, policies: Policies, secretHash: string): MaybePromise<KeyPolicy> {
    const before = this.#changes;
    const found = policies.find(secretHash);
    if (!(found instanceof Promise)) return this.#passed(flight, found);
    return found.then((policy) =>
      before === this.#changes ? this.#passed(flight, policy) : this.pass(flight, policies, secretHash),
    );
  }

  #passed(flight: Flight, found: KeyPolicy | undefined): KeyPolicy {
    const policy = checkKey(found, flight.atMs);
    if (this.halts.findCaller(policy)) throw new Fault('customer_paused');
    flight.policy = policy;
    return policy;
  }

  /** Policies that have changed, some of which may be revoked now. */
  recheck(policies: readonly KeyPolicy[]): void {
    this.#changes++;
    const revoked = new Map(policies.flatMap((one) => (one.state === 'revoked' ? [[one.key, one]] : [])));
    if (revoked.size === 0) return;
    for (const flight of this.#flights.list()) {
      const policy = flight.policy && revoked.get(flight.policy.key);
      if (policy) endOrLetEnd(flight, 'revoked', policy);
    }
  }
}

/** What an upstream is answering may end by itself, unless that is not wanted; nothing is sent any more. */
function endOrLetEnd(flight: Flight, why: 'paused' | 'revoked', { cutOpen }: { cutOpen?: boolean }): void {
  if (cutOpen || !flight.isSent) flight.stop(why);
  else flight.isLast = true;
}
