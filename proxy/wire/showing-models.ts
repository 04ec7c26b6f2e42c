/**
 * Families of models that show all the output that they bill, where the request asks for nothing that does not show
 * (`Asked.hidesOutput`). Others may think unseen, and are held whole: so is every name that is not known here.
 */
const OPEN = 'llama|meta-llama|mistral|mixtral|ministral|codestral|gemma|phi-|qwen2';
/** Those before the fifth think only when they are asked to. */
const CLAUDE = 'claude-(?:instant|(?:[123]|(?:opus|sonnet|haiku)-4)(?![0-9]))';

/** What calls sound, or makes it, is billed for what no text shows. */
const NO_TEXT = /-(audio|realtime|image|tts|live)\b/i;
/** Kinds of those models that were taught to think. */
const THINKING = /(reason|think|magistral|-r1\b|qwq)/i;

/** `families` begins a name, or what stands behind the provider's or the region's. */
function showing(families: string): (model: string) => boolean {
  const pattern = new RegExp(`(?:^|[/:.])(?:${families})`, 'i');
  return (model) => pattern.test(model) && !NO_TEXT.test(model) && !THINKING.test(model);
}

export const openaiShows = showing(`gpt-4|gpt-3\\.5|gpt-35|${OPEN}`);
export const completionsShow = showing(`gpt-3\\.5|davinci-002|babbage-002|${OPEN}`);
export const claudeShows = showing(CLAUDE);
export const geminiShows = showing(String.raw`gemini-(?:1\.5|2\.0|2\.5-flash)|gemma-[23]`);
export const cohereShows = showing('command-(?:r|a|light|nightly)|c4ai-');
export const ollamaShows = showing(`${OPEN}|phi[34]|command-r`);
export const bedrockShows = showing(
  `anthropic\\.${CLAUDE}|meta\\.llama|mistral\\.|cohere\\.command-r|amazon\\.nova-(?:micro|lite|pro)|amazon\\.titan-text`,
);
