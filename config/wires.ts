/**
 * The families of wires that an upstream can speak, as `wire` names them: one for each API whose addresses, paths and
 * credentials are its own. `prefix` is what stands in front of its paths at the gateway and in `base_url` alike, as in
 * the base address that its official SDK takes; for Vertex that is the project that pays and the region, which the caller
 * does not choose, and for agents the name of the upstream itself. `headers` are put where the caller sent none.
 */
interface FamilyRow {
  readonly prefix: string | RegExp;
  /** The same where callers of another family ask. */
  readonly otherPrefix?: string;
  readonly auth: Auth;
  readonly headers: Readonly<Record<string, string>>;
}

/** Those of tools and agents: the path of a call names its upstream, so that none of them needs models or a route. */
export const AGENT_FAMILIES: ReadonlySet<string> = new Set<WireFamily>(['mcp', 'a2a', 'agent']);

/**
 * Where a credential is put: a header of that name, or `authorization: Bearer`. google: it is a service account's key, in
 * base64, or the machine's own account where there is none, and what is put is a token that Google gives for it. aws: it
 * is an access key's id and secret with a colon between them, and what is put is a signature over the whole request.
 */
export const AUTHS = ['bearer', 'x-api-key', 'x-goog-api-key', 'api-key', 'google', 'aws'] as const;
export type Auth = (typeof AUTHS)[number];

export const WIRE_FAMILIES = [
  'openai',
  'anthropic',
  'gemini',
  'vertex',
  'cohere',
  'ollama',
  'azure',
  'bedrock',
  'mcp',
  'a2a',
  'agent',
] as const;
export type WireFamily = (typeof WIRE_FAMILIES)[number];

export const FAMILIES: Readonly<Record<WireFamily, FamilyRow>> = {
  openai: { prefix: '/v1', otherPrefix: '/openai/v1', auth: 'bearer', headers: {} },
  anthropic: { prefix: '', auth: 'x-api-key', headers: { 'anthropic-version': '2023-06-01' } },
  gemini: { prefix: '', auth: 'x-goog-api-key', headers: {} },
  vertex: { prefix: /^\/v1(?:beta1)?(?:\/projects\/[^/]+\/locations\/[^/]+)?(?=\/)/, auth: 'google', headers: {} },
  cohere: { prefix: '', auth: 'bearer', headers: {} },
  ollama: { prefix: '', auth: 'bearer', headers: {} },
  azure: { prefix: '', auth: 'api-key', headers: {} },
  bedrock: { prefix: '', auth: 'bearer', headers: {} },
  mcp: { prefix: /^\/mcp\/[^/]+/, auth: 'bearer', headers: {} },
  a2a: { prefix: /^\/a2a\/[^/]+/, auth: 'bearer', headers: {} },
  agent: { prefix: /^\/agents\/[^/]+/, auth: 'bearer', headers: {} },
};
