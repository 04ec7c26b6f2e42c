import { concat, decodeUtf8, EMPTY, encodeUtf8, isObject, parseJson } from './bytes.ts';
import { SILENT_METER } from './unmetered.ts';
import type { Meter } from './wire.ts';

/** A card is a page of text. What is longer is none, and is not passed on: its addresses could not be. */
const CARD_BYTES_MAX = 1 << 20;

/**
 * An agent's card says where it is to be found: there its callers would go, around the gateway. They are told an address
 * of ours in place of each that is below the upstream's; others are left out, and so are signatures, which hold no more.
 */
export function cardMeter(upstreamUrl: string, ownUrl: string): Meter {
  const parts: Uint8Array[] = [];
  let length = 0;
  return {
    ...SILENT_METER,
    edits: true,
    push(chunk) {
      length += chunk.length;
      if (length <= CARD_BYTES_MAX) parts.push(chunk);
      return EMPTY;
    },
    end() {
      const parsed = length <= CARD_BYTES_MAX ? parseJson(decodeUtf8(concat(parts))) : undefined;
      if (!parsed || !isObject(parsed.value)) return EMPTY;
      const { value } = parsed;
      const republish = (card: Readonly<Record<string, unknown>>) => republished(card, upstreamUrl, ownUrl);
      // As the answer of JSON-RPC, or by itself.
      const told = isObject(value.result) ? { ...value, result: republish(value.result) } : republish(value);
      return encodeUtf8(JSON.stringify(told));
    },
  };
}

function republished(card: Readonly<Record<string, unknown>>, upstreamUrl: string, ownUrl: string): object {
  const { signatures: _, ...told } = card;
  const urlOf = (url: unknown): string | undefined => {
    if (typeof url !== 'string') return undefined;
    if (url === upstreamUrl) return ownUrl;
    return url.startsWith(`${upstreamUrl}/`) ? `${ownUrl}${url.slice(upstreamUrl.length)}` : undefined;
  };
  const interfacesOf = (list: unknown): object[] =>
    (Array.isArray(list) ? list : []).flatMap((one: unknown) => {
      const url = isObject(one) ? urlOf(one.url) : undefined;
      return isObject(one) && url !== undefined && !isGrpc(one) ? [{ ...one, url }] : [];
    });
  return {
    ...told,
    // Of revision 0.3, which has one address and others beside it; where it is elsewhere, we are all that is left.
    ...(card.url !== undefined && { url: urlOf(card.url) ?? ownUrl }),
    ...(card.additionalInterfaces !== undefined && { additionalInterfaces: interfacesOf(card.additionalInterfaces) }),
    ...(card.supportedInterfaces !== undefined && { supportedInterfaces: interfacesOf(card.supportedInterfaces) }),
  };
}

/** It does not come by here. */
function isGrpc({ protocolBinding, transport }: Readonly<Record<string, unknown>>): boolean {
  return protocolBinding === 'GRPC' || transport === 'GRPC';
}
