import { Fault } from '#core/fault.ts';
import type { Frame } from '../socket/socket.ts';
import { isObject } from './bytes.ts';
import type { ErrorAnswer } from './dialect.ts';
import { FrameFields } from './frame-fields.ts';
import { JsonPaths } from './json-paths.ts';
import { parseFlag } from './json-request.ts';
import { errorFrameOf } from './openai-error-frame.ts';
import { ResponseReader } from './openai-response-reader.ts';
import { openaiResponses } from './openai-responses.ts';
import { NO_STEPS, NO_TURNS, type Talk, type Turn, type TurnStep } from './socket-wire.ts';
import type { Asked, Reading } from './wire.ts';

const DECISIVE: ReadonlySet<string> = new Set(['type', 'stream_id', 'generate', 'previous_response_id']);
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

  read(): Reading {
    return this.#reader.read({ whole: false, textBytes: this.#json.textBytes });
  }
}

/** One socket of OpenAI Responses: what has the same `stream_id` is answered one after the other, what has not at once. */
export class ResponsesTalk implements Talk {
  model: string | null = null;
  readonly #path: string;
  readonly #lanes = new Map<string, ResponsesTurn[]>();
  /** What comes after a response that was steered, by its lane. */
  readonly #ahead = new Map<string, ResponsesTurn>();
  /** Responses that were made here: they can be built on here, whether or not they are kept. */
  readonly #made = new Map<string, ResponsesTurn>();

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
    const steps: TurnStep[] = [];
    if (type === 'response.created') steps.push(this.#began(lane, fields.value('response')));
    const turns = this.#lanes.get(lane) ?? [];
    const turn = turns[0] ?? (TERMINAL.has(type) ? this.#unasked(lane, fields.value('response')) : undefined);
    if (!turn) return steps;
    turn.push(bytes);
    if (!TERMINAL.has(type) && type !== 'error') return steps;
    turns.shift();
    if (turns.length === 0) this.#lanes.delete(lane);
    return [...steps, { kind: type === 'error' && turn.id === null ? 'refused' : 'ended', turn }];
  }

  #began(lane: string, response: unknown): TurnStep {
    const turns = this.#laneOf(lane);
    const next = turns.find(({ id }) => id === null);
    const turn = next ?? this.#ahead.get(lane) ?? this.#following(lane);
    if (turn === this.#ahead.get(lane)) this.#ahead.delete(lane);
    if (!next) turns.push(turn);
    turn.id = isObject(response) && typeof response.id === 'string' ? response.id : '';
    if (this.#made.size < MADE_MAX) this.#made.set(turn.id, turn);
    return { kind: 'began', turn };
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

const NOTHING = new Uint8Array(0);
const UNKNOWN = openaiResponses.parse(new TextEncoder().encode('{"model":"unknown"}'), { path: '' });
