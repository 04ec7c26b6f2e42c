import type { WireFamily } from '#config/wires.ts';
import { geminiDialect } from './gemini-dialect.ts';
import { mediaOf } from './gemini-media.ts';
import { geminiModelPaths, vertexModelPaths } from './gemini-paths.ts';
import { listMember, modelOf, objectMember } from './gemini-request.ts';
import { type Fields, parseBody } from './json-request.ts';
import { askedWithoutTokens, FREE_FACTS, SILENT_METER } from './unmetered.ts';
import type { Wire, WireEndpoint } from './wire.ts';

/** Counts the tokens of contents that are not sent: Google bills nothing for it. */
function countWire(name: string, family: WireFamily, endpoints: readonly WireEndpoint[]): Wire {
  return {
    name,
    family,
    dialect: geminiDialect,
    endpoints,
    operation: 'count_tokens',
    facts: FREE_FACTS,
    parse(body, _call, params) {
      const model = modelOf(params);
      const { files } = mediaOf(contentsOf(parseBody(body, DECISIVE)), model);
      // How long somebody else's file is, is none of the caller's business.
      return { ...askedWithoutTokens(model, 'free'), ...(files && { reads: files }) };
    },
    rewrite: (body) => body,
    meter: () => SILENT_METER,
  };
}

const DECISIVE = new Set(['contents', 'generateContentRequest', 'generate_content_request']);

/** They stand in the body, or in a whole request within it. */
function contentsOf(fields: Fields): Fields[] {
  return [fields, objectMember(fields, 'generateContentRequest')].flatMap((one) => [
    ...listMember(one, 'contents'),
    ...listMember(one, 'systemInstruction'),
  ]);
}

export const geminiCount = countWire('gemini-count', 'gemini', geminiModelPaths(['countTokens']));
export const vertexCount = countWire('vertex-count', 'vertex', vertexModelPaths(['countTokens', 'computeTokens']));
