import type { WireFamily } from '#config/wires.ts';
import { geminiDialect } from './gemini-dialect.ts';
import { geminiModelPaths, vertexModelPaths } from './gemini-paths.ts';
import { modelOf } from './gemini-request.ts';
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
    parse: (_body, _call, params) => askedWithoutTokens(modelOf(params), 'free'),
    rewrite: (body) => body,
    meter: () => SILENT_METER,
  };
}

export const geminiCount = countWire('gemini-count', 'gemini', geminiModelPaths(['countTokens']));
export const vertexCount = countWire('vertex-count', 'vertex', vertexModelPaths(['countTokens', 'computeTokens']));
