import { Fault, faultOf } from '#core/fault.ts';
import type { KeyPolicy } from '#core/key-policy.ts';
import { pause } from '#core/pause.ts';
import type { Admitted } from '../admission.ts';
import type { Ending } from '../ending.ts';
import type { Flight } from '../flight.ts';
import type { Counters } from '../limits/counters.ts';
import type { Observer } from '../observer.ts';
import { closingOf } from '../record.ts';
import type { Match } from '../routes.ts';
import type { Sink } from '../sink/sink.ts';
import type { Target } from '../upstream/route-table.ts';
import type { Asked, Made } from '../wire/wire.ts';
import { askedByRequests } from './batch-asked.ts';
import type { LookingParts } from './looking.ts';
import { SAY_ALL } from './looks.ts';
import { objectOf, openCallOf } from './made.ts';
import { closingOfOpen } from './open-closing.ts';
import { Reconciler, type ReconcilerParts } from './reconciler.ts';
import { Settler } from './settler.ts';
import { fileOf, OPEN_LEASE_MS, type OpenCall, type Stored, type StoredObject } from './stored.ts';

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

/** Whose things at a provider are, on the way of a call: checked before it goes out, kept when it has made one. */
export class Keeping {
  readonly reconciler: Reconciler;
  readonly #parts: KeepingParts;
  readonly #stored: StoredParts;
  readonly #settler: Settler;
  readonly #never = new AbortController().signal;
  /** Streams that were handed over while they last. */
  readonly #followed = new WeakMap<Flight, Promise<OpenCall | undefined>>();

  constructor(parts: KeepingParts, stored: StoredParts, now: ReconcilerParts['now']) {
    this.#parts = parts;
    this.#stored = stored;
    this.#settler = new Settler(stored.calls, parts.sink, parts.observer);
    this.reconciler = new Reconciler({ ...parts, stored, settler: this.#settler, now });
  }

  /**
   * What the call names and builds on, which must be the customer's, and what the requests come to that it brings. Throws
   * `not_found`, `invalid_request`, `state_conflict` and `owners_unavailable`.
   */
  async known(policy: KeyPolicy, match: Match, method: string, parsed: Asked): Promise<Known> {
    const { object: named, buildsOn = [], reads = [], requests, ...asked } = parsed;
    if (named !== undefined) {
      const object = await this.#getOwned(policy, match, named);
      if (method === 'DELETE') await this.#checkSettled(object);
      return { asked: { ...parsed, model: object.model }, madeAt: object.upstream, object };
    }
    if (requests) {
      const batch = await askedByRequests(requests);
      const found = await this.#base(policy, match, [], batch.reads ?? []);
      const { reads: _reads, ...whole } = batch;
      const isFile = asked.makes === 'file';
      return { ...found, asked: isFile ? { ...asked, model: batch.model, batch: whole } : together(whole, asked) };
    }
    const { madeAt, first } = await this.#base(policy, match, buildsOn, reads);
    if (madeAt === undefined) return { asked };
    if (asked.makes !== 'batch') return { asked, madeAt };
    if (!first?.asked) throw new Fault('invalid_request', { detail: "The purpose of the file is not 'batch'." });
    return { asked: together(first.asked, asked), madeAt };
  }

  /** What a call stands on: all of it at one upstream, to which the call has to go. */
  async #base(
    policy: KeyPolicy,
    match: Match,
    buildsOn: readonly string[],
    reads: readonly string[],
  ): Promise<{ madeAt?: string; first?: StoredObject }> {
    const base: StoredObject[] = [];
    for (const id of buildsOn) base.push(await this.#getOwned(policy, match, id));
    for (const id of reads) {
      const own = await this.#stored.objects.find(policy.customer, id);
      if (own) base.push(own);
      // What the operator has put there by hand is nobody's.
      else if (await this.#stored.objects.isFile(id)) throw notFound(id);
    }
    const [first] = base;
    if (!first) return {};
    const elsewhere = base.find(({ upstream }) => upstream !== first.upstream);
    if (elsewhere) throw notFound(elsewhere.id);
    return { madeAt: first.upstream, first };
  }

  async #getOwned({ customer }: KeyPolicy, match: Match, id: string): Promise<StoredObject> {
    const found = await this.#find(customer, id);
    // Named or not, it is where it was made.
    if (!found || (match.upstream !== null && match.upstream !== found.upstream)) throw notFound(id);
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
   * A stream of something that goes on without it is handed over as soon as it says what it makes: it may last long, and
   * its gateway die, or its client look it up or cancel it meanwhile.
   */
  follow(flight: Flight, admitted: Admitted): void {
    const read = (): void => {
      const made = flight.exchange?.reading?.made;
      if (!made || flight.onBytes === null || flight.status === null || flight.status >= 400) return;
      flight.onBytes = null;
      if (made.over || flight.over || admitted.asked.makes === undefined) return;
      const own = objectOf(flight, admitted, admitted.asked.makes, made);
      this.#followed.set(flight, this.#handOver(flight, admitted, own));
    };
    flight.onBytes = () => queueMicrotask(read);
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
    flight.onBytes = null;
    const call = await this.#followed.get(flight);
    if (call) {
      if (made?.over && reading?.complete)
        await this.#settler.settle(call, closingOf(flight, admitted, ending, this.#parts.clock()));
      return true;
    }
    if (!made || ('status' in ending && ending.status >= 400)) return false;
    const { asked, object } = admitted;
    if (object) {
      // Of a part of it (a range, a body that ends early) nobody can say what it came to.
      const isWhole = ending.kind === 'answered' && ending.reading.complete;
      if (isWhole && made.id === object.id) await this.#seen(object, made, admitted, ending);
      return false;
    }
    if (asked.makes === undefined) return false;
    const own = objectOf(flight, admitted, asked.makes, made);
    if (own.call === null) {
      const keeping = this.#trying(flight, () => this.#stored.objects.keep(own));
      // Every stored response is one: its call does not wait for the store to be back.
      if (own.kind !== 'response') await keeping;
      return false;
    }
    return (await this.#handOver(flight, admitted, own)) !== undefined;
  }

  /** Undefined when the store stayed away. Never rejects. */
  async #handOver(flight: Flight, admitted: Admitted, own: StoredObject): Promise<OpenCall | undefined> {
    const { counters } = this.#parts;
    const call = openCallOf(flight, admitted, own);
    if (!(await this.#trying(flight, () => this.#stored.calls.keep(call)))) return undefined;
    flight.reservation = null;
    // Only now: who finds it, to delete it, must find that it is not billed yet.
    await this.#trying(flight, () => this.#stored.objects.keep(own));
    const { reservation } = call.opening;
    const amounts = reservation.holds.map(({ amount }) => amount);
    try {
      // What the journal does not let go of now it leaves to the store at the next start: it must not be closed here too.
      await this.#stored.handedOver(flight.id);
      if (amounts.length > 0) await counters.extend({ ...reservation, leaseMs: OPEN_LEASE_MS }, amounts);
    } catch (thrown) {
      // The next look does it again.
      this.#parts.observer.faulted(faultOf(thrown), flight.id);
    }
    return call;
  }

  /** Its own client has looked at it. */
  async #seen(object: StoredObject, made: Made, { config, targets }: Admitted, ending: Ending): Promise<void> {
    const nowMs = this.#parts.clock();
    for (const file of made.files ?? []) await this.#stored.objects.keep(fileOf(object, file, nowMs));
    if (object.call === null || !made.over) return;
    const open = await this.#stored.calls.find(object.customer, object.call);
    const [target] = targets;
    if (open === undefined || open === 'forgotten' || !target) return;
    const { call, closing } = open;
    if (closing === null && !SAY_ALL.has(object.kind)) {
      // What it came to stands elsewhere, which may take a while to read.
      void this.reconciler.look(open);
      return;
    }
    const from: Target = { ...target, model: call.modelSent };
    await this.#settler.settle(call, closing ?? closingOfOpen(call, ending, from, config, nowMs));
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

/** What is known of a call before it goes out. */
export interface Known {
  readonly asked: Asked;
  /** Where it has to go. */
  readonly madeAt?: string;
  /** What its path names. */
  readonly object?: StoredObject;
}

/** True for a call that has to do with what providers keep before it goes out; all others pay nothing for it. */
export function isAboutKept({ object, buildsOn, reads, background, makes }: Asked): boolean {
  if (object !== undefined || buildsOn !== undefined || reads !== undefined) return true;
  return background === true || (makes ?? 'response') !== 'response';
}

/** Where nobody keeps whose it is. Throws `invalid_request` and `route_not_found`. */
export function knownWithoutStore(asked: Asked): Known {
  const { object, background, stream, makes } = asked;
  if (object !== undefined || (makes !== undefined && makes !== 'response')) throw new Fault('route_not_found');
  if (!background || stream) return { asked };
  throw new Fault('invalid_request', { detail: 'This gateway takes nothing in the background: stream it.' });
}

/** A batch is asked as its requests are, all together. */
function together(batch: Asked, { user, session, makes, background, atLeisure, once }: Asked): Asked {
  return {
    ...batch,
    user,
    session,
    ...(makes && { makes }),
    ...(background && { background }),
    ...(atLeisure && { atLeisure }),
    ...(once && { once }),
  };
}

function notFound(id: string): Fault {
  return new Fault('not_found', { detail: `Nothing of the id '${id.slice(0, 100)}' was made by this customer here.` });
}
