import type { Config } from '#config/config.ts';
import { Fault, faultOf } from '#core/fault.ts';
import { pause } from '#core/pause.ts';
import type { Counters } from '../limits/counters.ts';
import type { Observer } from '../observer.ts';
import type { RouteTable, Target } from '../upstream/route-table.ts';
import { askOf, type LookingParts } from './looking.ts';
import { LOOKS, type Looked } from './looks.ts';
import { closingByEstimate, closingOfOpen } from './open-closing.ts';
import type { Settler } from './settler.ts';
import { type Claimed, fileOf, LOOK_MS, OPEN_LEASE_MS, type OpenCall, type Stored } from './stored.ts';

export interface ReconcilerParts extends LookingParts {
  readonly stored: Stored;
  readonly counters: Counters;
  readonly observer: Observer;
  readonly settler: Settler;
  readonly now: () => { readonly config: Config; readonly routes: RouteTable };
}

/** Looked at at once: one upstream that hangs keeps no other waiting. */
const AT_ONCE = 32;
const RESUMED_AT_ONCE = 256;
const ROUND_MS = 1_000;
/** Where there is more than was taken. */
const SOON_MS = 20;
/** What its provider does not know so soon may be about to be known; and one that says so once may be in disorder. */
const GONE_AFTER_MS = 120_000;

/**
 * Looks after open calls until they end, whether or not their clients ever ask: it renews what they hold, asks the
 * upstream that has them, and settles what is over. What does not end within its bound is billed by its estimate.
 */
export class Reconciler {
  readonly #parts: ReconcilerParts;
  readonly #stopping = new AbortController();
  /** By the id of the call. */
  readonly #looking = new Map<string, Promise<boolean>>();
  /** By the id of the call: since when its provider says that it does not know it. */
  readonly #gone = new Map<string, number>();
  #running: Promise<void> | undefined;

  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
  }

  /**
   * Holds again what open calls hold, where the counters did not outlive the process before; to be waited for before
   * calls are taken. Each is still due at once then. Never rejects.
   */
  async resume(): Promise<void> {
    const { stored, clock, observer } = this.#parts;
    const longAgoMs = clock() - LOOK_MS.max;
    try {
      for (let count = RESUMED_AT_ONCE; count === RESUMED_AT_ONCE && !this.#stopping.signal.aborted; ) {
        const claimed = await stored.calls.claim(longAgoMs, RESUMED_AT_ONCE);
        count = claimed.length;
        const renewed = await Promise.allSettled(claimed.map(({ call }) => this.#renew(call)));
        for (const one of renewed) if (one.status === 'rejected') observer.faulted(faultOf(one.reason), '');
      }
    } catch (thrown) {
      observer.faulted(faultOf(thrown), '');
    }
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Resolves when nothing is asked any more. What is open stays so, for another gateway or the next start. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await Promise.all(this.#looking.values());
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const free = AT_ONCE - this.#looking.size;
      const looks = free > 0 ? await this.#claim(free) : [];
      await pause(free > 0 && looks.length === free ? SOON_MS : ROUND_MS, signal);
    }
  }

  /** Looks at some of what is due, to the end. Answers how many. Never rejects. */
  async round(): Promise<number> {
    const looks = await this.#claim(AT_ONCE);
    await Promise.all(looks);
    return looks.length;
  }

  async #claim(max: number): Promise<Promise<boolean>[]> {
    const { stored, clock, observer } = this.#parts;
    try {
      return (await stored.calls.claim(clock(), max)).map((one) => this.look(one));
    } catch (thrown) {
      observer.faulted(faultOf(thrown), '');
      return [];
    }
  }

  /** True when it is over, and how it is billed is put down. One look at a time. Never rejects. */
  look(claimed: Claimed): Promise<boolean> {
    const { id } = claimed.call;
    const known = this.#looking.get(id);
    if (known) return known;
    const looking = this.#look(claimed).finally(() => this.#looking.delete(id));
    this.#looking.set(id, looking);
    return looking;
  }

  async #look({ call, closing }: Claimed): Promise<boolean> {
    const { clock, observer, settler } = this.#parts;
    try {
      if (closing) return await settler.settle(call, closing);
      await this.#renew(call);
      const { config, target } = this.#whereIs(call);
      const looked = target ? await this.#ask(call, target, config).catch(unseen) : UNREACHABLE;
      const nowMs = clock();
      if (looked.kind === 'over' && target) {
        this.#gone.delete(call.id);
        return await settler.settle(call, closingOfOpen(call, looked.ending, target, config, nowMs));
      }
      const why =
        looked.kind === 'unseen' ? String(looked.why) : looked.kind === 'gone' ? 'it is not known' : undefined;
      if (why !== undefined)
        observer.faulted(new Fault('upstream_invalid', { story: `${call.object}: ${why}` }), call.id);
      if (!this.#isGone(call, looked, nowMs) && nowMs < call.untilMs) return false;
      this.#gone.delete(call.id);
      return await settler.settle(call, closingByEstimate(call));
    } catch (thrown) {
      observer.faulted(faultOf(thrown), call.id);
      return false;
    }
  }

  /** Said again and again, for a while: one answer of a server in disorder must not end what a customer owes. */
  #isGone({ id }: OpenCall, { kind }: Looked, nowMs: number): boolean {
    if (kind === 'going') this.#gone.delete(id);
    if (kind !== 'gone') return false;
    const sinceMs = this.#gone.get(id) ?? nowMs;
    this.#gone.set(id, sinceMs);
    return nowMs - sinceMs >= GONE_AFTER_MS;
  }

  async #renew({ opening: { reservation } }: OpenCall): Promise<void> {
    const amounts = reservation.holds.map(({ amount }) => amount);
    if (amounts.length > 0) await this.#parts.counters.extend({ ...reservation, leaseMs: OPEN_LEASE_MS }, amounts);
  }

  #whereIs({ upstream, family, modelSent }: OpenCall): { config: Config; target: Target | undefined } {
    const { config, routes } = this.#parts.now();
    const found = routes.findUpstream(upstream, family)?.choices[0];
    return { config, target: found && { ...found, model: modelSent } };
  }

  async #ask(call: OpenCall, target: Target, { gateway }: Config): Promise<Looked> {
    const look = LOOKS[call.kind];
    if (!look) return { kind: 'unseen', why: 'nothing of this kind goes on' };
    const { clock, stored } = this.#parts;
    const owner = { ...call, key: call.opening.estimate.data.key, call: call.id };
    return look(call, askOf(this.#parts, target, call.query, gateway, this.#stopping.signal), async (files) => {
      for (const file of files) await stored.objects.keep(fileOf(owner, file, clock()));
    });
  }
}

const UNREACHABLE: Looked = { kind: 'unseen', why: 'its upstream is not configured any more' };

/** Even where it cannot be asked for at all, as without a credential, it ends some day. */
function unseen(why: unknown): Looked {
  return { kind: 'unseen', why };
}
