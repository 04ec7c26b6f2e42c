import { Fault } from '#core/fault.ts';
import type { Frame } from '../socket/socket.ts';
import { isObject } from './bytes.ts';
import type { ErrorAnswer } from './dialect.ts';
import { FrameFields } from './frame-fields.ts';
import { JsonPaths } from './json-paths.ts';
import { parseFlag } from './json-request.ts';
import { errorFrameOf } from './openai-error-frame.ts';
import { mediaBounds } from './openai-media.ts';
import { ResponseReader } from './openai-response-reader.ts';
import { openaiResponses } from './openai-responses.ts';
import { NO_STEPS, NO_TURNS, type Talk, type Turn, type TurnStep } from './socket-wire.ts';
import type { Asked, Reading } from './wire.ts';

const DECISIVE: ReadonlySet<string> = new Set(['type', 'stream_id', 'generate', 'previous_response_id', 'input']);
const TERMINAL: ReadonlySet<string> = new Set(['response.completed', 'response.incomplete', 'response.failed']);
/** What was steered goes on with a request of the client's, or not at all. */
const NOT_STEERED: ReadonlySet<string> = new Set(['response.steer.pending', 'response.steer.failed']);

/** A client that makes names up does not fill memory. */
const MADE_MAX = 10_000;

/** One response in its lane. */
class ResponsesTurn implements Turn {
  readonly asked: Asked;
  readonly body: Uint8Array;
  readonly ahead: boolean;
  readonly beside = false;
  readonly lane: string;
  readonly #reader: ResponseReader;
  readonly #json: JsonPaths;
  id: string | null = null;
  /** An error has been said of it, and its end has not. */
  isBroken = false;

  constructor(asked: Asked, body: Uint8Array, ahead: boolean, lane: string) {
    this.asked = asked;
    this.body = body;
    this.ahead = ahead;
    this.lane = lane;
    this.#reader = new ResponseReader(asked, true);
    this.#json = new JsonPaths(this.#reader.paths, (...kept) => this.#reader.keep(...kept));
  }

  covers(): boolean {
    return true;
  }

  push(bytes: Uint8Array): void {
    this.#json.push(bytes);
    if (!this.#json.between) this.#json.reset();
  }

  get hasShown(): boolean {
    return this.#json.textBytes > 0;
  }

  read(): Reading {
    return this.#reader.read({ whole: false, textBytes: this.#json.textBytes });
  }
}

/** What is remembered of a response: not what it was asked with, which may be long. */
interface MadeHere {
  readonly asked: Asked;
  readonly lane: string;
}

/** One socket of OpenAI Responses: what has the same `stream_id` is answered one after the other, what has not at once. */
export class ResponsesTalk implements Talk {
  model: string | null = null;
  readonly #path: string;
  readonly #lanes = new Map<string, ResponsesTurn[]>();
  /** What comes after a response that was steered, by its lane. */
  readonly #ahead = new Map<string, ResponsesTurn>();
  /** Responses that were made here: they can be built on here, whether or not they are kept. */
  readonly #made = new Map<string, MadeHere>();

  constructor(path: string) {
    this.#path = path;
  }

  fromClient({ bytes }: Frame): readonly Turn[] {
    const fields = FrameFields.parse(bytes, DECISIVE);
    const type = fields.text('type');
    if (type === 'response.create') return [this.#ask(bytes, fields)];
    if (type === 'response.steer') return this.#steer(bytes, fields);
    if (type === null) throw new Fault('invalid_request', { detail: "The field 'type' must say what the message is." });
    return NO_TURNS;
  }

  #ask(bytes: Uint8Array, fields: FrameFields): ResponsesTurn {
    const { background, buildsOn, ...parsed } = openaiResponses.parse(bytes, { path: this.#path });
    if (background) throw new Fault('invalid_request', { detail: 'On a socket nothing is taken in the background.' });
    const elsewhere = (buildsOn ?? []).filter((id) => !this.#made.has(id));
    const isWarmUp = parseFlag({ generate: fields.value('generate') }, 'generate') === false;
    const asked: Asked = {
      ...parsed,
      stream: true,
      // Nothing is generated: what nobody reports is nothing.
      ...(isWarmUp && { inputTokensGuess: 0n }),
      ...(elsewhere.length > 0 && { buildsOn: elsewhere }),
    };
    const lane = fields.text('stream_id') ?? '';
    const turn = new ResponsesTurn(asked, bytes, false, lane);
    this.model ??= asked.model;
    this.#laneOf(lane).push(turn);
    return turn;
  }

  /** It asks as the response does that it steers; a response that is not known here is refused upstream. */
  #steer(bytes: Uint8Array, fields: FrameFields): readonly Turn[] {
    // Whose they are is checked where a response is asked for.
    if (mediaBounds(fields.value('input'), '').files) {
      throw new Fault('invalid_request', { detail: 'What steers a response names no files by their ids.' });
    }
    const steered = this.#made.get(fields.text('previous_response_id') ?? '');
    if (!steered) return NO_TURNS;
    const { buildsOn: _before, ...asked } = steered.asked;
    const turn = new ResponsesTurn({ ...asked, inputElsewhere: true }, bytes, true, steered.lane);
    if (!this.#ahead.has(steered.lane)) this.#ahead.set(steered.lane, turn);
    return [this.#ahead.get(steered.lane) ?? turn];
  }

  #laneOf(lane: string): ResponsesTurn[] {
    const turns = this.#lanes.get(lane) ?? [];
    this.#lanes.set(lane, turns);
    return turns;
  }

  fromUpstream({ bytes }: Frame): readonly TurnStep[] {
    const fields = FrameFields.find(bytes);
    const type = fields?.text('type');
    if (!fields || !type) return NO_STEPS;
    const lane = fields.text('stream_id') ?? '';
    if (NOT_STEERED.has(type)) return this.#dropped(lane);
    if (type === 'error') return this.#failed(lane, bytes, fields);
    const steps = type === 'response.created' ? [...this.#began(lane, fields.value('response'))] : [];
    const isOver = TERMINAL.has(type);
    const turn = isOver ? this.#ending(lane, fields.value('response')) : this.#lanes.get(lane)?.[0];
    turn?.push(bytes);
    return turn && isOver ? [...steps, this.#end(turn, 'ended')] : steps;
  }

  #end(turn: ResponsesTurn, kind: 'ended' | 'refused'): TurnStep {
    this.forget(turn);
    return { kind, turn };
  }

  /** The one of that id; else, of a server that says it otherwise, the one whose turn it is. */
  #ending(lane: string, response: unknown): ResponsesTurn | undefined {
    const turns = this.#lanes.get(lane) ?? [];
    return turns.find(({ id }) => id === idOf(response)) ?? turns[0] ?? this.#unasked(lane, response);
  }

  /**
   * With a status it is the answer to a message, and refuses the oldest that waits; without one it is of the response that
   * is on its way. Once that has shown something, what it used is said right after, by its end.
   */
  #failed(lane: string, bytes: Uint8Array, fields: FrameFields): readonly TurnStep[] {
    const turns = this.#lanes.get(lane) ?? [];
    const [first] = turns;
    const refused = first?.id === null || fields.has('status') ? turns.find(({ id }) => id === null) : undefined;
    if (refused) {
      refused.push(bytes);
      return [this.#end(refused, 'refused')];
    }
    if (!first || fields.has('status')) return NO_STEPS;
    first.push(bytes);
    first.isBroken = true;
    return first.hasShown ? NO_STEPS : [this.#end(first, 'ended')];
  }

  #began(lane: string, response: unknown): readonly TurnStep[] {
    // One that failed, and whose end was never said, is over when the next one begins.
    const broken = (this.#lanes.get(lane) ?? []).filter(({ id, isBroken }) => id !== null && isBroken);
    const steps = broken.map((turn) => this.#end(turn, 'ended'));
    const turns = this.#laneOf(lane);
    const next = turns.find(({ id }) => id === null);
    const turn = next ?? this.#ahead.get(lane) ?? this.#following(lane);
    if (turn === this.#ahead.get(lane)) this.#ahead.delete(lane);
    if (!next) turns.push(turn);
    turn.id = idOf(response);
    if (this.#made.size < MADE_MAX) this.#made.set(turn.id, { asked: turn.asked, lane });
    return [...steps, { kind: 'began', turn }];
  }

  /** It was begun by no message that we know. */
  #following(lane: string): ResponsesTurn {
    const before = [...this.#made.values()].findLast((turn) => turn.lane === lane);
    const asked = before?.asked ?? UNKNOWN;
    return new ResponsesTurn({ ...asked, inputElsewhere: true }, NOTHING, true, lane);
  }

  /** What ends and has used something was somebody's, though its beginning was not seen. */
  #unasked(lane: string, response: unknown): ResponsesTurn | undefined {
    return isObject(response) && isObject(response.usage) ? this.#following(lane) : undefined;
  }

  #dropped(lane: string): readonly TurnStep[] {
    const turn = this.#ahead.get(lane);
    this.#ahead.delete(lane);
    return turn ? [{ kind: 'dropped', turn }] : NO_STEPS;
  }

  forget(turn: Turn): void {
    for (const [lane, ahead] of this.#ahead) if (ahead === turn) this.#ahead.delete(lane);
    for (const [lane, turns] of this.#lanes) {
      const left = turns.filter((one) => one !== turn);
      if (left.length === 0) this.#lanes.delete(lane);
      else this.#lanes.set(lane, left);
    }
  }

  errorFrame(answer: ErrorAnswer, turn: Turn | null): Frame {
    const lane = turn instanceof ResponsesTurn ? turn.lane : '';
    return errorFrameOf(answer, { status: answer.status, ...(lane !== '' && { stream_id: lane }) }, {});
  }

  cancelFrame(): undefined {
    return undefined;
  }
}

function idOf(response: unknown): string {
  return isObject(response) && typeof response.id === 'string' ? response.id : '';
}

const NOTHING = new Uint8Array(0);
const UNKNOWN = openaiResponses.parse(new TextEncoder().encode('{"model":"unknown"}'), { path: '' });
