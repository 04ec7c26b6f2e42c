import type { Counts, Unit } from '#core/quantity.ts';
import { encodeUtf8 } from './bytes.ts';
import type { CallId } from './dialect.ts';
import { pathsOf } from './json-path-tree.ts';
import { parseName } from './json-request.ts';
import { rpcError } from './json-rpc-dialect.ts';
import { NOTHING_READ, type RpcReader, refusedReader, rpcMeter } from './json-rpc-meter.ts';
import { type AnswerHead, isEventStream, type Meter, type Reading } from './wire.ts';

/** Something in a request that counts once it ran. */
export interface Counted {
  readonly id: CallId;
  readonly unit: Unit;
}

const ID = 0;
const METHOD = 1;
const ERROR_CODE = 2;
const ERROR_MESSAGE = 3;
const RESULT_TYPE = 4;
const INPUT_METHOD = 5;
/** Those from here on name the task that was made, as one revision or another has it. */
const TASK = 6;
const PATHS = pathsOf([
  'id',
  'method',
  'error.code',
  'error.message',
  'result.resultType',
  'result.inputRequests.*.method',
  'result.task.taskId',
  'result.taskId',
]);

const SAMPLING = 'sampling/createMessage';
const ACCEPTED = 202;

/**
 * Counts what ran, by the answer's own messages: a result says that it did, be it the result of a tool that failed; an
 * error says that it did not, and `input_required` that it has yet to. What is still open when the stream ends counts,
 * as an estimate, where it runs on without its client: in the revisions in which hanging up cancels nothing.
 */
export function mcpMeter(counted: readonly Counted[], cancels: boolean, answer: AnswerHead): Meter {
  const isStream = isEventStream(answer);
  const reader = answer.status >= 400 ? refusedReader(PATHS) : mcpReader(counted, cancels && isStream, answer.status);
  return rpcMeter(reader, isStream);
}

function mcpReader(counted: readonly Counted[], cancels: boolean, status: number): RpcReader {
  const open = new Map(counted.map((one) => [JSON.stringify(one.id), one]));
  const ran: Counted[] = [];
  let samplings = 0n;
  let tasks = 0n;
  let failed = false;
  let run: string | null = null;
  let at = newMessage();

  function endAnswer(): void {
    const key = JSON.stringify(at.id);
    const answered = open.get(key);
    if (!answered) return;
    open.delete(key);
    if (at.failed) failed = true;
    else if (at.type !== 'input_required') ran.push(answered);
    if (at.task === null || at.failed) return;
    tasks++;
    run ??= at.task;
  }

  function counts(estimated: boolean): Counts {
    const all = estimated ? [...ran, ...open.values()] : ran;
    const sum: Partial<Record<Unit, bigint>> = {};
    if (all.length > 0) sum.calls = 1n;
    for (const { unit } of all) sum[unit] = (sum[unit] ?? 0n) + 1n;
    if (tasks > 0n) sum.tasks = tasks;
    if (samplings > 0n) sum.sampling_requests = samplings;
    return sum;
  }

  return {
    paths: PATHS,
    value(kept, value) {
      if (kept === ID) at.id = value;
      else if (kept === METHOD) at.method = value;
      else if (kept === ERROR_CODE || kept === ERROR_MESSAGE) at.failed = true;
      else if (kept === RESULT_TYPE) at.type = value;
      else if (kept >= TASK) at.task = parseName(value);
      else if (kept === INPUT_METHOD && value === SAMPLING) at.samplings++;
    },
    message() {
      samplings += at.samplings;
      if (at.method === null) endAnswer();
      else if (at.method === SAMPLING && at.id !== null) samplings++;
      at = newMessage();
    },
    drop() {
      at = newMessage();
    },
    read(whole): Reading {
      const isAnswered = open.size === 0;
      const estimated = !isAnswered && !cancels;
      const complete = status === ACCEPTED || (isAnswered && (whole || counted.length > 0));
      const undone = complete && failed && ran.length === 0 && samplings === 0n;
      return {
        ...NOTHING_READ,
        usage: { counts: counts(estimated), raw: null, estimated: estimated && status !== ACCEPTED },
        complete,
        undone,
        run,
      };
    },
    breakOff(message, code, named) {
      const [first] = open.values();
      // Where the call runs on, its client comes back for the result once the connection breaks.
      if (!first || (named && !cancels)) return undefined;
      return encodeUtf8(`data: ${JSON.stringify(rpcError(first.id, -31_502, message, { code }))}\n\n`);
    },
  };
}

interface Message {
  id: unknown;
  method: unknown;
  failed: boolean;
  type: unknown;
  task: string | null;
  samplings: bigint;
}

function newMessage(): Message {
  return { id: null, method: null, failed: false, type: null, task: null, samplings: 0n };
}
