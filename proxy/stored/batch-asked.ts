import { Fault } from '#core/fault.ts';
import type { Counts, Unit } from '#core/quantity.ts';
import type { Asked, BatchRequest, Wire } from '../wire/wire.ts';
import { WIRES } from '../wire/wires.ts';

/** Between two moments for everybody else: reading a line takes some 30 us. */
const LINES_AT_ONCE = 100;

/** The wire that a request of a batch would be asked by, by itself. */
export function wireOfRequest(path: string): Wire | undefined {
  return WIRES.find(({ endpoints }) => endpoints.some((one) => one.method === 'POST' && one.path === path));
}

/**
 * What all requests of a batch can come to together, as one call at the price of batches. They are for one model, as a
 * batch of OpenAI has to be: its price and its bounds hold for the sum. Throws `invalid_request` and what the wire says
 * of one of them.
 */
export async function askedByRequests(requests: Iterable<BatchRequest>): Promise<Asked> {
  let sum: Sum | undefined;
  let count = 0;
  const ids = new Set<string>();
  for (const request of requests) {
    checkId(request, ids);
    const asked = askedBy(request);
    sum ??= new Sum(asked, request.path);
    sum.add(asked, request);
    if (++count % LINES_AT_ONCE === 0) await new Promise((resolve) => setTimeout(resolve));
  }
  if (!sum) throw new Fault('invalid_request', { detail: 'The batch holds no request.' });
  return sum.whole();
}

/** Results are told apart by it: of two with one id only one would be billed. */
function checkId({ place, id }: BatchRequest, ids: Set<string>): void {
  if (typeof id !== 'string' || id === '' || ids.has(id)) {
    throw new Fault('invalid_request', { detail: `${place} needs a 'custom_id' that no other has.` });
  }
  ids.add(id);
}

function askedBy({ place, path, body }: BatchRequest): Asked {
  const wire = wireOfRequest(path);
  if (!wire || wire.otherFamily) {
    throw new Fault('invalid_request', { detail: `${place}: nothing of a batch is asked for at '${path}'.` });
  }
  try {
    const asked = wire.parse(body, { method: 'POST', path, query: '', headers: {} }, {});
    if (asked.buildsOn) throw new Fault('invalid_request', { detail: 'It builds on what the provider keeps.' });
    if (asked.makes !== undefined && asked.background)
      throw new Fault('invalid_request', { detail: 'It is one itself.' });
    if (isBilledByRequest(asked))
      throw new Fault('invalid_request', { detail: 'Its answers do not say what they come to.' });
    return asked;
  } catch (thrown) {
    if (!(thrown instanceof Fault)) throw thrown;
    throw new Fault(thrown.code, { detail: `${place}: ${thrown.detail ?? thrown.message}` });
  }
}

/** By pictures or seconds, as they were asked for: the sum of a batch does not tell them apart any more. */
function isBilledByRequest({ fixed, bounds, outputTokensMax }: Asked): boolean {
  return Object.keys(fixed).length > 0 || (bounds.images !== undefined && outputTokensMax === 0n);
}

/** Prices hang on these too. */
const ALIKE = ['model', 'region', 'variant'] as const;

class Sum {
  readonly #first: Asked;
  readonly #path: string;
  #inputTokensMax = 0n;
  #inputTokensGuess = 0n;
  #inputs = 0n;
  #answers = 0n;
  #inputElsewhere = false;
  readonly #reads = new Set<string>();
  #outputTokens: bigint | null = 0n;
  readonly #bounds: Partial<Record<Unit, bigint>> = {};

  constructor(first: Asked, path: string) {
    this.#first = first;
    this.#path = path;
  }

  add(asked: Asked, { place, path }: BatchRequest): void {
    const other = ALIKE.find((name) => (asked[name] ?? null) !== (this.#first[name] ?? null));
    if (other !== undefined || path !== this.#path) {
      const detail = `${place} is for another ${other ?? 'path'} than the first: a batch is for one.`;
      throw new Fault('invalid_request', { detail });
    }
    this.#inputTokensMax += asked.inputTokensMax;
    this.#inputTokensGuess += asked.inputTokensGuess;
    this.#inputs += asked.inputs;
    this.#answers += asked.answers;
    if (asked.inputElsewhere) this.#inputElsewhere = true;
    for (const id of asked.reads ?? []) this.#reads.add(id);
    // One without a maximum may answer all that its model can.
    if (asked.outputTokensMax === null) this.#outputTokens = null;
    else if (this.#outputTokens !== null) this.#outputTokens += asked.outputTokensMax * asked.answers;
    this.#addBounds(asked.bounds);
    this.#addBounds(asked.fixed);
  }

  #addBounds(bounds: Counts): void {
    for (const unit in bounds) {
      const count = bounds[unit as Unit] ?? 0n;
      this.#bounds[unit as Unit] = (this.#bounds[unit as Unit] ?? 0n) + count;
    }
  }

  whole(): Asked {
    const answers = this.#answers;
    const { makes: _makes, reads: _reads, ...first } = this.#first;
    return {
      ...first,
      each: this.#path,
      stream: false,
      user: null,
      session: null,
      serviceTier: 'batch',
      inputTokensMax: this.#inputTokensMax,
      inputTokensGuess: this.#inputTokensGuess,
      inputs: this.#inputs,
      inputElsewhere: this.#inputElsewhere,
      inputUnits: null,
      outputUnits: null,
      answers,
      // Of each on the average, rounded up: what the model can answer at most bounds the sum no less than each of them.
      outputTokensMax:
        this.#outputTokens === null || answers === 0n ? null : (this.#outputTokens + answers - 1n) / answers,
      bounds: this.#bounds,
      fixed: {},
      ...(this.#reads.size > 0 && { reads: [...this.#reads] }),
    };
  }
}
