import { decodeUtf8, isObject, parseJson } from './bytes.ts';
import type { InputText } from './wire.ts';

/** What a chat reads as text: what can be counted. */

/** OpenAI's own sums: four for a message (its role is one of them), three before the answer, one more for a name. */
const MESSAGE_TOKENS = 4n;
const ANSWER_TOKENS = 3n;

/** Members of a request that are read by the model, or that change what it reads, beside the messages. */
const READ_BESIDE = ['tools', 'functions', 'response_format', 'web_search_options', 'audio', 'prediction'] as const;

export function inputText(body: Uint8Array): InputText | undefined {
  const parsed = parseJson(decodeUtf8(body))?.value;
  if (!isObject(parsed) || !Array.isArray(parsed.messages)) return undefined;
  if (READ_BESIDE.some((name) => (parsed[name] ?? null) !== null)) return undefined;
  const texts: string[] = [];
  let extraTokens = ANSWER_TOKENS;
  for (const message of parsed.messages) {
    if (!isObject(message) || !Object.keys(message).every((key) => TEXT_MEMBERS.has(key))) return undefined;
    const contents = textsOf(message.content);
    if (!contents) return undefined;
    texts.push(...contents);
    extraTokens += MESSAGE_TOKENS;
    if (typeof message.name === 'string') {
      texts.push(message.name);
      extraTokens++;
    }
  }
  return { texts, extraTokens };
}

const TEXT_MEMBERS = new Set(['role', 'content', 'name']);

function textsOf(content: unknown): string[] | undefined {
  if (typeof content === 'string') return [content];
  if (!Array.isArray(content)) return undefined;
  const texts: string[] = [];
  for (const part of content) {
    if (!isObject(part) || part.type !== 'text' || typeof part.text !== 'string') return undefined;
    texts.push(part.text);
  }
  return texts;
}
