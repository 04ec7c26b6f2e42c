import { Fault } from '#core/fault.ts';
import type { Counts, Unit } from '#core/quantity.ts';
import { isObject } from './bytes.ts';
import type { FrameFields } from './frame-fields.ts';
import { mediaOf } from './gemini-media.ts';
import { listMember } from './gemini-request.ts';
import { billedQueries, groundingCounts, parseUsageMetadata, tierOf } from './gemini-usage.ts';
import type { Fields } from './json-request.ts';
import { type Turn, talkInputMax } from './socket-wire.ts';
import { type Asked, guessTokens, NOTHING_ASKED, type Reading, type Usage } from './wire.ts';

/** Sound in, as base64: 25 tokens a second, of 32,000 bytes; a slower rate has fewer bytes for as many tokens. */
const SOUND_CHARS_PER_TOKEN_MIN = 800;
const SOUND_CHARS_PER_TOKEN_GUESS = 1_700;
/** A picture, at the highest resolution and at the usual one. */
const PICTURE_TOKENS_MAX = 2_240n;
const PICTURE_TOKENS_GUESS = 258n;
/** Sound out: 25 tokens a second, of 48,000 bytes. */
const ANSWER_CHARS_PER_TOKEN = 2_560;
/** Prompts of the provider's own, some hundreds of tokens (recorded), and what is said between the hold and the beginning. */
const HEADROOM_TOKENS = 4_096n;
const TEXT_BYTES_PER_TOKEN = 4;

/** All that was said on a socket: each turn reads it again. */
class Said {
  /** It goes on with what was said elsewhere, or reads what no message shows. */
  elsewhere: boolean;
  readonly #model: string;
  #textBytes = 0;
  #soundChars = 0;
  #pictures = 0n;
  #mediaMax = 0n;
  #mediaGuess = 0n;
  #answered = 0n;

  constructor(model: string, elsewhere: boolean) {
    this.#model = model;
    this.elsewhere = elsewhere;
  }

  hear(bytes: Uint8Array, fields: FrameFields): void {
    const input = fields.object('realtimeInput') ?? fields.object('realtime_input');
    const contents = contentsOf(fields);
    const live = input && this.#hearLive(input);
    if (!live || contents.length > 0) this.read(bytes.length, contents);
  }

  /** What comes in pieces. False where nothing of it is sound or a picture. */
  #hearLive(input: FrameFields): boolean {
    const sound = input.object('audio');
    const video = input.object('video');
    const name = input.has('mediaChunks') ? 'mediaChunks' : 'media_chunks';
    if (!sound && !video && !input.has(name)) return false;
    const chunks = input.value(name);
    // Sound or pictures: whatever is more.
    this.#soundChars += (sound?.lengthOf('data') ?? 0) + input.lengthOf(name);
    this.#pictures += BigInt((video ? 1 : 0) + (Array.isArray(chunks) ? chunks.length : 0));
    this.#textBytes += input.lengthOf('text');
    return true;
  }

  /** Throws `invalid_request`. */
  read(bytes: number, contents: readonly Fields[]): void {
    const media = mediaOf(contents, this.#model);
    // Whose they are is checked where requests name them.
    if (media.files) throw new Fault('invalid_request', { detail: 'On a socket no files are named by their ids.' });
    this.#textBytes += Math.max(0, bytes - media.bytes);
    this.#mediaMax += media.tokensMax;
    this.#mediaGuess += media.tokensGuess;
    if (media.elsewhere) this.elsewhere = true;
  }

  keep(outputTokens: bigint): void {
    this.#answered += outputTokens;
  }

  get tokensMax(): bigint {
    const said = this.#textBytes + Math.ceil(this.#soundChars / SOUND_CHARS_PER_TOKEN_MIN);
    return BigInt(said) + this.#pictures * PICTURE_TOKENS_MAX + this.#mediaMax + this.#answered;
  }

  get tokensGuess(): bigint {
    const text = Math.ceil(this.#textBytes / TEXT_BYTES_PER_TOKEN);
    const sound = Math.ceil(this.#soundChars / SOUND_CHARS_PER_TOKEN_GUESS);
    return BigInt(text + sound) + this.#pictures * PICTURE_TOKENS_GUESS + this.#mediaGuess + this.#answered;
  }
}

interface SetupFacts {
  readonly outputTokensMax: bigint | null;
  readonly bounds: Counts;
}

/** What a message brings that may hold media. */
function contentsOf(fields: FrameFields): readonly Fields[] {
  const content = fields.value('clientContent') ?? fields.value('client_content');
  const given = fields.value('toolResponse') ?? fields.value('tool_response');
  const turns = isObject(content) ? listMember(content, 'turns') : [];
  const responses = isObject(given) ? listMember(given, 'functionResponses') : [];
  return [...turns, ...responses.map((functionResponse) => ({ functionResponse }))];
}

export interface LiveSetup extends SetupFacts {
  readonly model: string;
  readonly said: Said;
}

/** One answer of the model, tools that it called on the way included. */
export class LiveTurn implements Turn {
  readonly ahead = true;
  readonly beside = false;
  hasBegun = false;
  isComplete = false;
  readonly #setup: LiveSetup;
  /** What was reported: of several generations in one turn each. */
  readonly #usages: Usage[] = [];
  readonly #queries = new Set<string>();
  #outputGuess = 0n;

  constructor(setup: LiveSetup) {
    this.#setup = setup;
  }

  /** `elsewhere`: it goes on with what was said on another socket. */
  static setup(model: string, elsewhere: boolean, facts: SetupFacts): LiveSetup {
    return { ...facts, model, said: new Said(model, elsewhere) };
  }

  get asked(): Asked {
    const { model, said, outputTokensMax, bounds } = this.#setup;
    return {
      ...NOTHING_ASKED,
      model,
      metering: 'usage',
      stream: true,
      inputTokensMax: talkInputMax(said.tokensMax + HEADROOM_TOKENS, said.elsewhere),
      inputElsewhere: said.elsewhere,
      inputTokensGuess: said.tokensGuess,
      outputTokensMax,
      answers: 1n,
      bounds,
    };
  }

  covers({ inputTokensMax, inputElsewhere }: Asked): boolean {
    const { said } = this.#setup;
    return said.elsewhere === inputElsewhere && said.tokensMax <= inputTokensMax;
  }

  /** A piece of the answer has gone by. */
  show(content: FrameFields | undefined): void {
    this.hasBegun = true;
    this.#outputGuess += BigInt(Math.ceil((content?.lengthOf('modelTurn') ?? 0) / ANSWER_CHARS_PER_TOKEN));
    this.#outputGuess += guessTokens(content?.lengthOf('outputTranscription') ?? 0);
  }

  search(metadata: unknown): void {
    const queries = isObject(metadata) ? metadata.webSearchQueries : null;
    if (Array.isArray(queries)) for (const query of queries) if (typeof query === 'string') this.#queries.add(query);
  }

  /** Figures that grow for one prompt are said again; a prompt that is another one is billed beside it. */
  use(raw: unknown): void {
    const usage = parseUsageMetadata(raw);
    if (!usage) return;
    const last = this.#usages.at(-1);
    if (last && promptOf(last.raw) === promptOf(usage.raw)) this.#usages.pop();
    this.#usages.push(usage);
  }

  get hasUsage(): boolean {
    return this.#usages.length > 0;
  }

  get outputTokens(): bigint {
    const { output_tokens = 0n, output_audio_tokens = 0n } = this.#usage()?.counts ?? {};
    return this.hasUsage ? output_tokens + output_audio_tokens : this.#outputGuess;
  }

  #usage(): Usage | null {
    const [first, ...others] = this.#usages;
    if (!first) return null;
    const searches = groundingCounts(billedQueries(this.#queries));
    if (others.length === 0) return { ...first, counts: { ...first.counts, ...searches } };
    const counts: Partial<Record<Unit, bigint>> = { ...first.counts };
    for (const other of others) {
      for (const [unit, count] of Object.entries(other.counts) as [Unit, bigint][]) {
        if (unit !== 'calls') counts[unit] = (counts[unit] ?? 0n) + count;
      }
    }
    return { counts: { ...counts, ...searches }, raw: this.#usages.map(({ raw }) => raw) };
  }

  read(): Reading {
    return {
      usage: this.#usage(),
      complete: this.isComplete,
      failed: false,
      model: this.#setup.model,
      serviceTier: tierOf(this.#usages.at(-1)?.raw),
      outputTokensGuess: this.#outputGuess,
    };
  }
}

function promptOf(raw: unknown): unknown {
  return isObject(raw) ? raw.promptTokenCount : null;
}
