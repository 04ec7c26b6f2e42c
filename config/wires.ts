/**
 * The families of wires that an upstream can speak, as `wire` names them: one for each API whose addresses, paths and
 * credentials are its own. `prefix` is what stands in front of its paths at the gateway and in `base_url` alike, as in
 * the base address that its official SDK takes. `headers` are put where the caller sent none.
 */
interface FamilyRow {
  readonly prefix: string;
  readonly auth: Auth;
  readonly headers: Readonly<Record<string, string>>;
}

/** Where a credential is put: a header of that name, or `authorization: Bearer`. */
export const AUTHS = ['bearer', 'x-api-key', 'x-goog-api-key', 'api-key'] as const;
export type Auth = (typeof AUTHS)[number];

export const WIRE_FAMILIES = ['openai', 'anthropic'] as const;
export type WireFamily = (typeof WIRE_FAMILIES)[number];

/** What is known of APIs to come: a configuration that names one is told so. */
export const WIRE_FAMILIES_LATER = ['gemini', 'vertex', 'bedrock', 'azure', 'cohere', 'ollama'] as const;

export const FAMILIES: Readonly<Record<WireFamily, FamilyRow>> = {
  openai: { prefix: '/v1', auth: 'bearer', headers: {} },
  anthropic: { prefix: '', auth: 'x-api-key', headers: { 'anthropic-version': '2023-06-01' } },
};
