import { Fault } from '#core/fault.ts';
import type { Frame } from '../socket/socket.ts';
import { encodeUtf8, isObject } from './bytes.ts';
import type { ErrorAnswer } from './dialect.ts';
import { FrameFields } from './frame-fields.ts';
import { parseBody } from './json-request.ts';
import { errorFrameOf, requestIdOf } from './openai-error-frame.ts';
import { mediaBounds } from './openai-media.ts';
import { RealtimeSession, textOf } from './openai-realtime-session.ts';
import { RealtimeTurn, TranscriptTurn } from './openai-realtime-turns.ts';
import { NO_STEPS, NO_TURNS, type Talk, type Turn, type TurnStep } from './socket-wire.ts';

const DECISIVE: ReadonlySet<string> = new Set(['type', 'response', 'session', 'item', 'audio', 'event_id']);
/** More than are ever written down at once. */
const SAID_MAX = 1_000;
const TRANSCRIPT = 'conversation.item.input_audio_transcription.';

/** One socket of OpenAI Realtime, read on both of its sides. */
export class RealtimeTalk implements Talk {
  readonly model: string;
  readonly #session = new RealtimeSession();
  /** Asked for and not begun, in their order. */
  #asked: RealtimeTurn[] = [];
  readonly #begun = new Map<string, RealtimeTurn>();
  /** What the upstream may begin by itself, while sound comes in. */
  #ahead: RealtimeTurn | null = null;
  #transcript: TranscriptTurn | null = null;
  /** What was said and is yet to be written down, and the model that was to do that when it was said. */
  readonly #saidTo = new Map<string, string>();

  readonly #isAside: boolean;

  /** `isAside`: it listens to a call of which nothing else is seen. */
  constructor(model: string, isAside = false) {
    this.model = model;
    this.#isAside = isAside;
    // What is said there is not heard here: only the model's context bounds it.
    this.#session.elsewhere = isAside;
  }

  standing(): readonly Turn[] {
    return this.#isAside ? this.#aheadOf() : NO_TURNS;
  }

  fromClient({ bytes }: Frame): readonly Turn[] {
    const fields = FrameFields.parse(bytes, DECISIVE);
    switch (fields.text('type')) {
      case 'input_audio_buffer.append':
        this.#session.hear(fields.lengthOf('audio'));
        return this.#aheadOf();
      case 'response.create':
        return [this.#ask(bytes, parseBody(bytes, DECISIVE))];
      case 'conversation.item.create':
        this.#readItems(bytes, [fields.value('item')]);
        break;
      case 'session.update':
      case 'transcription_session.update':
        this.#session.read(bytes.length);
        this.#propose(parseBody(bytes, DECISIVE));
        break;
      case null:
        throw new Fault('invalid_request', { detail: "The field 'type' must say what the message is." });
      default:
        this.#session.read(bytes.length);
    }
    // What is said now is read by a response that may already be on its way to begin.
    return this.#ahead ? this.#aheadOf() : NO_TURNS;
  }

  #propose({ session, event_id }: Readonly<Record<string, unknown>>): void {
    const model = isObject(session) ? textOf(session.model) : null;
    if (model !== null && model !== this.model && model !== this.#session.model) {
      throw new Fault('invalid_request', { detail: `A socket keeps the model that it was opened with.` });
    }
    this.#session.propose(session, event_id ?? null);
  }

  #aheadOf(): readonly Turn[] {
    const turns: Turn[] = [];
    // Where no model is named, it only writes down.
    const answers = this.model !== '' && this.#session.answersByItself;
    if (answers && this.#begun.size === 0 && this.#asked.length === 0) {
      this.#ahead ??= new RealtimeTurn(this.model, this.#session, true, null, null);
      turns.push(this.#ahead);
    }
    const { transcriberAhead } = this.#session;
    if (transcriberAhead !== null) {
      this.#transcript ??= new TranscriptTurn(transcriberAhead);
      turns.push(this.#transcript);
    }
    return turns;
  }

  #ask(bytes: Uint8Array, { response, event_id }: Readonly<Record<string, unknown>>): RealtimeTurn {
    const fields = isObject(response) ? response : {};
    this.#readItems(bytes, fields.input);
    const turn = new RealtimeTurn(this.model, this.#session, false, fields, event_id ?? null);
    turn.inPlaceOf = this.#ahead;
    this.#asked.push(turn);
    return turn;
  }

  #readItems(bytes: Uint8Array, items: unknown): void {
    const media = mediaBounds(items, this.model);
    this.#session.read(bytes.length - media.bytes);
    this.#session.see(media);
  }

  fromUpstream({ bytes }: Frame): readonly TurnStep[] {
    const fields = FrameFields.find(bytes);
    const type = fields?.text('type');
    if (!fields || !type) return NO_STEPS;
    if (type.endsWith('.delta')) {
      this.#begun.get(fields.text('response_id') ?? '')?.show(type, fields.lengthOf('delta'));
      return NO_STEPS;
    }
    switch (type) {
      case 'session.created':
      case 'session.updated':
      case 'transcription_session.created':
      case 'transcription_session.updated':
        this.#session.read(bytes.length);
        this.#session.settle(fields.value('session'), type.endsWith('.updated'));
        return this.#dropped();
      case 'response.created':
        return this.#began(fields.value('response'));
      case 'response.done':
        return this.#ended(fields.value('response'));
      case 'error':
        return this.#refused(fields.value('error'));
      case 'input_audio_buffer.committed':
        this.#said(fields.text('item_id'));
        return NO_STEPS;
      case `${TRANSCRIPT}failed`:
        this.#saidTo.delete(fields.text('item_id') ?? '');
        return NO_STEPS;
      case `${TRANSCRIPT}completed`:
        return this.#heard(fields.text('item_id') ?? '', fields.value('usage'));
      default:
        return NO_STEPS;
    }
  }

  /** The session is another one now: what it will not begin need not be held. */
  #dropped(): readonly TurnStep[] {
    const { answersByItself, transcriberAhead } = this.#session;
    const steps: TurnStep[] = [];
    if (this.#ahead && !answersByItself) steps.push({ kind: 'dropped', turn: this.#ahead });
    if (this.#transcript && this.#transcript.model !== transcriberAhead)
      steps.push({ kind: 'dropped', turn: this.#transcript });
    for (const { turn } of steps) this.forget(turn);
    return steps;
  }

  #began(response: unknown): readonly TurnStep[] {
    const turn = this.#asked.shift() ?? this.#ahead ?? new RealtimeTurn(this.model, this.#session, true, null, null);
    if (turn === this.#ahead) this.#ahead = null;
    this.#begun.set(idOf(response), turn);
    return [{ kind: 'began', turn }];
  }

  #ended(response: unknown): readonly TurnStep[] {
    const id = idOf(response);
    const steps = this.#begun.has(id) ? [] : [...this.#began(response)];
    const turn = this.#begun.get(id);
    if (!turn) return NO_STEPS;
    this.#begun.delete(id);
    turn.end(response);
    this.#session.keep(turn.outputTokens);
    return [...steps, { kind: 'ended', turn }];
  }

  /** An error that names no message is of the oldest one that could be meant: a response that begins all the same is a new one. */
  #refused(error: unknown): readonly TurnStep[] {
    const about = isObject(error) ? (error.event_id ?? null) : null;
    const at = this.#asked.findIndex((turn) => turn.eventId === about);
    const [turn] = at < 0 ? [] : this.#asked.splice(at, 1);
    if (turn) return [{ kind: 'refused', turn }];
    this.#session.refuse(about);
    return this.#dropped();
  }

  #said(item: string | null): void {
    const { transcriber } = this.#session;
    if (item !== null && transcriber !== null && this.#saidTo.size < SAID_MAX) this.#saidTo.set(item, transcriber);
  }

  #heard(item: string, usage: unknown): readonly TurnStep[] {
    const { transcriber, transcriberAhead } = this.#session;
    const model = this.#saidTo.get(item) ?? transcriber ?? transcriberAhead ?? this.model;
    this.#saidTo.delete(item);
    const held = this.#transcript?.model === model ? this.#transcript : null;
    if (held) this.#transcript = null;
    const turn = held ?? new TranscriptTurn(model);
    turn.end(usage);
    return [{ kind: 'ended', turn }];
  }

  forget(turn: Turn): void {
    if (turn === this.#ahead) this.#ahead = null;
    else if (turn === this.#transcript) this.#transcript = null;
    else this.#asked = this.#asked.filter((one) => one !== turn);
  }

  errorFrame(answer: ErrorAnswer, turn: Turn | null): Frame {
    const eventId = turn instanceof RealtimeTurn ? turn.eventId : null;
    return errorFrameOf(answer, { event_id: `event_${requestIdOf(answer)}` }, { event_id: eventId });
  }

  cancelFrame(turn: Turn): Frame | undefined {
    const id = [...this.#begun].find(([, one]) => one === turn)?.[0];
    if (id === undefined) return undefined;
    return { bytes: encodeUtf8(JSON.stringify({ type: 'response.cancel', response_id: id })), isText: true };
  }
}

function idOf(response: unknown): string {
  return isObject(response) && typeof response.id === 'string' ? response.id : '';
}
