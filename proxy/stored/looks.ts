import type { Ending } from '../ending.ts';
import type { ExchangeEnd } from '../exchange.ts';
import { ResponseReader } from '../wire/openai-response-reader.ts';
import { jsonMeter } from '../wire/paths-meter.ts';
import type { Ask } from './looking.ts';
import type { OpenCall, StoredKind } from './stored.ts';

/** going: it is not over. over: how it ended. gone: its provider does not know it any more. unseen: it did not say. */
export type Looked =
  | { readonly kind: 'going' | 'gone' }
  | { readonly kind: 'over'; readonly ending: Ending }
  | { readonly kind: 'unseen'; readonly why: unknown };

/** How each kind of thing is looked at while it may still be billed. */
export const LOOKS: Readonly<Partial<Record<StoredKind, (call: OpenCall, ask: Ask) => Promise<Looked>>>> = {
  response: lookAtResponse,
};

async function lookAtResponse({ path, object, asked }: OpenCall, ask: Ask): Promise<Looked> {
  const end = await ask(`${path}/${object}`, () => jsonMeter(new ResponseReader(asked, false)));
  return lookedOf(end);
}

function lookedOf(end: ExchangeEnd): Looked {
  if (end.kind === 'answered') {
    return end.reading.made?.over && end.reading.complete ? { kind: 'over', ending: end } : { kind: 'going' };
  }
  if (end.kind === 'discarded') {
    return GONE.has(end.status) ? { kind: 'gone' } : { kind: 'unseen', why: `status ${end.status}` };
  }
  return { kind: 'unseen', why: end.failure.cause };
}

const GONE: ReadonlySet<number> = new Set([404, 410]);
