/**
 * What must never reach a log, wherever somebody puts it: secrets and credentials, and what people wrote to a model or
 * got from it. Fields by their names, and secrets inside of any text by what they look like.
 */
const HIDDEN_NAMES =
  /^(.*authorization|.*cookie|.*api[-_]?key|.*secret|.*password|.*credentials?|.*token|headers|body|prompt|messages|content|contents|choices|input|output|instructions|arguments|args|parameters)$/i;

const HIDDEN_TEXTS: readonly [RegExp, string][] = [
  [/\b(wr_[a-z]+_)[A-Za-z0-9_-]{6,}/g, '$1…'],
  [/\b(sk|pk|rk|gsk|xai)-[A-Za-z0-9_-]{8,}/g, '$1-…'],
  [/\bAIza[A-Za-z0-9_-]{20,}/g, 'AIza…'],
  [/\b(AKIA|ASIA)[A-Z0-9]{16}\b/g, '$1…'],
  [/\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}/gi, '$1 …'],
  [/([a-z][a-z0-9+.-]*:\/\/)[^\s/@]*@/gi, '$1…@'],
  [/([?&](?:key|api[-_]?key|[a-z_]*token|secret|password)=)[^&\s"']+/gi, '$1…'],
];

const REDACTED = '[redacted]';
const TEXT_CHARS_MAX = 4000;
const DEPTH_MAX = 6;
const ITEMS_MAX = 50;

export function withoutSecrets(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return textWithoutSecrets(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= DEPTH_MAX) return '[deep]';
  if (value instanceof Error) return errorWithoutSecrets(value, depth);
  if (Array.isArray(value)) return value.slice(0, ITEMS_MAX).map((item) => withoutSecrets(item, depth + 1));
  if (ArrayBuffer.isView(value)) return '[bytes]';
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [
      name,
      HIDDEN_NAMES.test(name) && field !== undefined ? REDACTED : withoutSecrets(field, depth + 1),
    ]),
  );
}

/** Only what says what went wrong: errors of libraries carry commands, parameters and requests with them. */
function errorWithoutSecrets(error: Error, depth: number): object {
  const { name, message, stack, cause } = error;
  return {
    type: name,
    message: textWithoutSecrets(message),
    ...('code' in error && { code: withoutSecrets(error.code, depth + 1) }),
    ...('story' in error && { story: withoutSecrets(error.story, depth + 1) }),
    stack: textWithoutSecrets(stack ?? ''),
    ...(cause !== undefined && { cause: withoutSecrets(cause, depth + 1) }),
  };
}

function textWithoutSecrets(text: string): string {
  let clean = text.length > TEXT_CHARS_MAX ? `${text.slice(0, TEXT_CHARS_MAX)}…` : text;
  for (const [pattern, instead] of HIDDEN_TEXTS) clean = clean.replace(pattern, instead);
  return clean;
}
