import { anthropicCountTokens } from './anthropic-count-tokens.ts';
import { anthropicDialect } from './anthropic-dialect.ts';
import type { Dialect } from './dialect.ts';
import { openaiChat } from './openai-chat.ts';
import { openaiDialect } from './openai-dialect.ts';
import { openaiEmbeddings } from './openai-embeddings.ts';
import type { Wire } from './wire.ts';

/** Every wire that is served. A new one is a file and a line here. */
export const WIRES: readonly Wire[] = [openaiChat, openaiEmbeddings, anthropicCountTokens];

/** Those that claim paths or a header of their own. */
const DIALECTS: readonly Dialect[] = [anthropicDialect];

/** Whose words to use for what no wire answers. */
export function dialectOf(path: string, headers: Readonly<Record<string, unknown>>): Dialect {
  return (
    DIALECTS.find(({ paths }) => paths.some((beginning) => path.startsWith(beginning))) ??
    DIALECTS.find(({ header }) => header !== null && headers[header] !== undefined) ??
    openaiDialect
  );
}
