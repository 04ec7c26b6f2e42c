import { Fault } from '#core/fault.ts';
import type { Frame } from '../socket/socket.ts';
import type { Target } from '../upstream/route-table.ts';
import { isObject } from './bytes.ts';
import { FrameFields } from './frame-fields.ts';
import { groundingBounds } from './gemini-generate.ts';
import { type LiveSetup, LiveTurn } from './gemini-live-turn.ts';
import { checkOnce, countMember, listMember, member, objectMember } from './gemini-request.ts';
import { type Fields, parseBody } from './json-request.ts';
import { setMember } from './json-set.ts';
import { edited } from './json-span.ts';
import { NO_STEPS, NO_TURNS, type Talk, type Turn, type TurnStep } from './socket-wire.ts';

const DECISIVE: ReadonlySet<string> = new Set(['setup']);
/** What the model may answer. */
const ANSWERED = [
  'clientContent',
  'client_content',
  'realtimeInput',
  'realtime_input',
  'toolResponse',
  'tool_response',
];
/** `models/NAME`, or the same below a project or a publisher. */
const MODEL = /^(?:.*\/)?models\/([^/]+)$/;
const MODEL_CHARS_MAX = 256;

/** One socket of Gemini's Live API, read on both of its sides. Its messages are JSON, as text or as bytes. */
export class LiveTalk implements Talk {
  model: string | null = null;
  readonly #isVertex: boolean;
  #setup: LiveSetup | null = null;
  /** The one that answers, or may begin to. */
  #turn: LiveTurn | null = null;
  /** Whole, but for what it used. */
  #unsaid: LiveTurn | null = null;

  constructor(isVertex: boolean) {
    this.#isVertex = isVertex;
  }

  fromClient({ bytes }: Frame): readonly Turn[] {
    const fields = FrameFields.parse(bytes, DECISIVE);
    if (!this.#setup) {
      this.#setup = this.#begin(bytes);
      return NO_TURNS;
    }
    if (fields.has('setup')) throw new Fault('invalid_request', { detail: 'A socket is set up once.' });
    this.#setup.said.hear(bytes, fields);
    if (this.#turn?.hasBegun || !ANSWERED.some((name) => fields.has(name))) return NO_TURNS;
    this.#turn ??= new LiveTurn(this.#setup);
    return [this.#turn];
  }

  #begin(bytes: Uint8Array): LiveSetup {
    const setup = objectMember(parseBody(bytes, DECISIVE), 'setup');
    checkOnce(bytes, 'setup');
    const { model } = setup;
    const name = typeof model === 'string' ? (MODEL.exec(model)?.[1] ?? model) : '';
    if (name === '' || name.includes('/') || name.length > MODEL_CHARS_MAX) {
      throw new Fault('invalid_request', { detail: "The first message must be a 'setup' that names a 'model'." });
    }
    this.model = name;
    const tools = listMember(setup, 'tools');
    const begun = LiveTurn.setup(name, isResumed(setup), {
      outputTokensMax: countMember(objectMember(setup, 'generationConfig'), 'maxOutputTokens'),
      bounds: groundingBounds(tools),
    });
    begun.said.read(bytes.length, listMember(setup, 'systemInstruction'));
    return begun;
  }

  /** The model as its upstream knows it, below the project that pays. */
  leading(bytes: Uint8Array, { model, basePath }: Target): Uint8Array {
    if (model === null && !this.#isVertex) return bytes;
    const place = this.#isVertex ? `${basePath.replace(/^\/v1(?:beta1)?\/?/, '')}/publishers/google/` : '';
    const name = `${place.replace(/^\//, '')}models/${model ?? this.model}`;
    return edited(bytes, setMember(bytes, [['setup'], ['model']], JSON.stringify(name)));
  }

  fromUpstream({ bytes }: Frame): readonly TurnStep[] {
    const fields = FrameFields.find(bytes);
    if (!fields || !this.#setup) return NO_STEPS;
    const steps: TurnStep[] = [];
    const content = fields.object('serverContent');
    if (fields.has('toolCall') || content?.has('modelTurn') || content?.has('outputTranscription')) {
      steps.push(...this.#answering(content));
    }
    if (content?.has('groundingMetadata')) this.#turn?.search(content.value('groundingMetadata'));
    if (fields.has('usageMetadata')) steps.push(...this.#used(fields.value('usageMetadata')));
    if (content?.value('turnComplete') === true) steps.push(...this.#complete());
    return steps;
  }

  #answering(content: FrameFields | undefined): readonly TurnStep[] {
    const steps: TurnStep[] = [...this.#endUnsaid()];
    const turn = this.#turn ?? (this.#setup && new LiveTurn(this.#setup));
    if (!turn) return steps;
    this.#turn = turn;
    if (!turn.hasBegun) steps.push({ kind: 'began', turn });
    turn.show(content);
    return steps;
  }

  #used(usage: unknown): readonly TurnStep[] {
    const turn = this.#unsaid ?? this.#turn ?? (this.#setup && new LiveTurn(this.#setup));
    if (!turn) return NO_STEPS;
    turn.use(usage);
    if (turn === this.#unsaid) return this.#endUnsaid();
    const began: TurnStep[] = turn.hasBegun ? [] : [{ kind: 'began', turn }];
    turn.hasBegun = true;
    this.#turn = turn;
    return began;
  }

  /** Its usage comes with it, or right behind it. */
  #complete(): readonly TurnStep[] {
    const turn = this.#turn;
    if (!turn?.hasBegun) return NO_STEPS;
    this.#turn = null;
    turn.isComplete = true;
    this.#setup?.said.keep(turn.outputTokens);
    if (turn.hasUsage) return [{ kind: 'ended', turn }];
    this.#unsaid = turn;
    return NO_STEPS;
  }

  /** What nobody reports is estimated. */
  #endUnsaid(): readonly TurnStep[] {
    const turn = this.#unsaid;
    this.#unsaid = null;
    return turn ? [{ kind: 'ended', turn }] : NO_STEPS;
  }

  forget(turn: Turn): void {
    if (turn === this.#turn) this.#turn = null;
  }

  /** It has no words for errors but those of a closing. */
  errorFrame(): undefined {
    return undefined;
  }

  cancelFrame(): undefined {
    return undefined;
  }
}

/** What was said on a socket before is input of this one. */
function isResumed(setup: Fields): boolean {
  const resumption = member(setup, 'sessionResumption');
  return isObject(resumption) && (resumption.handle ?? null) !== null;
}
