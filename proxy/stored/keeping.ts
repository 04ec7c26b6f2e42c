import { Fault, faultOf } from '#core/fault.ts';
import type { KeyPolicy } from '#core/key-policy.ts';
import { pause } from '#core/pause.ts';
import { type Admitted, callMsMax } from '../admission.ts';
import { queryWithoutSecret } from '../caller.ts';
import type { Ending } from '../ending.ts';
import type { Flight } from '../flight.ts';
import type { Counters } from '../limits/counters.ts';
import type { Observer } from '../observer.ts';
import { heldMaxOf, openingOf, targetOf } from '../record.ts';
import type { Match } from '../routes.ts';
import type { Sink } from '../sink/sink.ts';
import type { Target } from '../upstream/route-table.ts';
import type { Asked, Made } from '../wire/wire.ts';
import type { LookingParts } from './looking.ts';
import { closingOfOpen } from './open-closing.ts';
import { Reconciler, type ReconcilerParts } from './reconciler.ts';
import { Settler } from './settler.ts';
import { OPEN_LEASE_MS, type OpenCall, type Stored, type StoredKind, type StoredObject } from './stored.ts';

/** What a main gives. */
export interface StoredParts extends Stored {
  /** The journal lets go of a call that stands in `calls` now. */
  readonly handedOver: (id: string) => Promise<void>;
}

type KeepingParts = LookingParts & { readonly counters: Counters; readonly sink: Sink; readonly observer: Observer };

/** An id goes out to its client a moment before it is kept: one that is asked for at once is looked for again. */
const FIND_AGAIN_MS = [20, 80, 300] as const;
/** Where the store is away, its call stays in the journal meanwhile. */
const KEEP_AGAIN_MS = [100, 1_000, 5_000] as const;

const DAY_MS = 86_400_000;
/** How long it is known whose it is: as long as its provider keeps it, or longer. */
const KEPT_MS: Readonly<Record<StoredKind, number>> = {
  response: 30 * DAY_MS,
  file: 400 * DAY_MS,
  batch: 60 * DAY_MS,
  message_batch: 60 * DAY_MS,
  video: 30 * DAY_MS,
};
/** How long the reconciler waits for an end: longer than any provider takes. */
const OPEN_MS: Readonly<Record<StoredKind, number>> = {
  response: 2 * DAY_MS,
  file: 0,
  batch: 16 * DAY_MS,
  message_batch: 3 * DAY_MS,
  video: 2 * DAY_MS,
};

/** Whose things at a provider are, on the way of a call: checked before it goes out, kept when it has made one. */
export class Keeping {
  readonly reconciler: Reconciler;
  readonly #parts: KeepingParts;
  readonly #stored: StoredParts;
  readonly #settler: Settler;
  readonly #never = new AbortController().signal;

  constructor(parts: KeepingParts, stored: StoredParts, now: ReconcilerParts['now']) {
    this.#parts = parts;
    this.#stored = stored;
    this.#settler = new Settler(stored.calls, parts.sink, parts.observer);
    this.reconciler = new Reconciler({ ...parts, calls: stored.calls, settler: this.#settler, now });
  }

  /** What the call names and must be the customer's. Throws `not_found`, `state_conflict` and `owners_unavailable`. */
  async getOwned({ customer }: KeyPolicy, match: Match, method: string, id: string): Promise<StoredObject> {
    const found = await this.#find(customer, id);
    // Named or not, it is where it was made.
    if (!found || (match.upstream !== null && match.upstream !== found.upstream)) throw notFound(id);
    if (method === 'DELETE') await this.#checkSettled(found);
    return found;
  }

  async #find(customer: string, id: string): Promise<StoredObject | undefined> {
    const { objects } = this.#stored;
    let found = await objects.find(customer, id);
    for (const waitMs of FIND_AGAIN_MS) {
      if (found) break;
      await pause(waitMs, this.#never);
      found = await objects.find(customer, id);
    }
    return found;
  }

  /** What is deleted before it is settled could never be billed. */
  async #checkSettled({ customer, call, id }: StoredObject): Promise<void> {
    const open = call === null ? undefined : await this.#stored.calls.find(customer, call);
    if (open === undefined || open === 'forgotten' || (await this.reconciler.look(open))) return;
    throw new Fault('state_conflict', {
      detail: `'${id}' has not ended yet, or has not been billed: cancel it first, or wait.`,
    });
  }

  /**
   * A call that named or made something has ended for its client. True when it goes on at the provider: then it is
   * closed later, by whoever sees its end. Never rejects.
   */
  async ended(flight: Flight, admitted: Admitted, ending: Ending): Promise<boolean> {
    try {
      return await this.#ended(flight, admitted, ending);
    } catch (thrown) {
      this.#parts.observer.faulted(faultOf(thrown), flight.id);
      return false;
    }
  }

  async #ended(flight: Flight, admitted: Admitted, ending: Ending): Promise<boolean> {
    const reading = 'reading' in ending ? ending.reading : null;
    const made = reading?.made;
    if (!made || ('status' in ending && ending.status >= 400)) return false;
    const { asked, object } = admitted;
    if (object) {
      if (ending.kind === 'answered' && made.over && made.id === object.id)
        await this.#seenToEnd(object, admitted, ending);
      return false;
    }
    if (asked.makes === undefined) return false;
    const own = objectOf(flight, admitted, asked.makes, made);
    if (own.call === null) {
      await this.#trying(flight, () => this.#stored.objects.keep(own));
      return false;
    }
    return this.#handOver(flight, admitted, own);
  }

  async #handOver(flight: Flight, admitted: Admitted, own: StoredObject): Promise<boolean> {
    const { counters } = this.#parts;
    const call = openCallOf(flight, admitted, own);
    const kept = await this.#trying(flight, async () => {
      await this.#stored.objects.keep(own);
      await this.#stored.calls.keep(call);
    });
    if (!kept) return false;
    flight.reservation = null;
    await this.#stored.handedOver(flight.id);
    const { reservation } = call.opening;
    const amounts = reservation.holds.map(({ amount }) => amount);
    try {
      if (amounts.length > 0) await counters.extend({ ...reservation, leaseMs: OPEN_LEASE_MS }, amounts);
    } catch (thrown) {
      // The next look does it again.
      this.#parts.observer.faulted(faultOf(thrown), flight.id);
    }
    return true;
  }

  async #seenToEnd(object: StoredObject, { config, targets }: Admitted, ending: Ending): Promise<void> {
    if (object.call === null) return;
    const open = await this.#stored.calls.find(object.customer, object.call);
    const [target] = targets;
    if (open === undefined || open === 'forgotten' || !target) return;
    const { call, closing } = open;
    const from: Target = { ...target, model: call.modelSent };
    await this.#settler.settle(call, closing ?? closingOfOpen(call, ending, from, config, this.#parts.clock()));
  }

  /** False when the store stayed away. */
  async #trying(flight: Flight, keep: () => Promise<void>): Promise<boolean> {
    for (let tried = 0; ; tried++) {
      try {
        await keep();
        return true;
      } catch (thrown) {
        this.#parts.observer.faulted(faultOf(thrown), flight.id);
        const waitMs = KEEP_AGAIN_MS[tried];
        if (waitMs === undefined) return false;
        await pause(waitMs, this.#never);
      }
    }
  }
}

/** The call with what is known of the thing that it names. */
export function askedOf(asked: Asked, { model }: StoredObject): Asked {
  return asked.object === undefined ? asked : { ...asked, model };
}

/** Where nobody keeps whose it is. Throws `invalid_request` and `route_not_found`. */
export function checkNotKept({ object, background, stream }: Asked): void {
  if (object !== undefined) throw new Fault('route_not_found');
  if (!background || stream) return;
  throw new Fault('invalid_request', { detail: 'This gateway takes nothing in the background: stream it.' });
}

function notFound(id: string): Fault {
  return new Fault('not_found', { detail: `Nothing of the id '${id.slice(0, 100)}' was made by this customer here.` });
}

function objectOf(flight: Flight, admitted: Admitted, kind: StoredKind, { id, over }: Made): StoredObject {
  const { policy, asked } = admitted;
  return {
    id,
    customer: policy.customer,
    key: policy.key,
    kind,
    upstream: targetOf(flight, admitted).upstream.name,
    model: asked.model,
    madeAtMs: flight.atMs,
    keptUntilMs: flight.atMs + KEPT_MS[kind],
    call: asked.background && !over ? flight.id : null,
  };
}

/** All that it takes to close it later, on any gateway. */
function openCallOf(flight: Flight, admitted: Admitted, { id, customer, kind, upstream }: StoredObject): OpenCall {
  const { asked, limits, match, config } = admitted;
  const target = targetOf(flight, admitted);
  const untilMs = flight.atMs + Math.max(OPEN_MS[kind], callMsMax(config.gateway));
  return {
    id: flight.id,
    customer,
    object: id,
    kind,
    upstream,
    family: target.family,
    modelSent: target.model,
    path: match.path,
    query: queryWithoutSecret(flight.call.query),
    atMs: flight.atMs,
    untilMs,
    opening: openingOf(flight, admitted),
    limits,
    asked,
    heldMax: heldMaxOf(admitted, target),
  };
}
