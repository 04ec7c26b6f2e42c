import { encodeUtf8 } from './bytes.ts';
import type { CallId } from './dialect.ts';
import { pathsOf } from './json-path-tree.ts';
import { parseName } from './json-request.ts';
import { rpcError } from './json-rpc-dialect.ts';
import { NOTHING_READ, type RpcReader, refusedReader, rpcMeter } from './json-rpc-meter.ts';
import { type AnswerHead, isEventStream, type Meter, type Reading } from './wire.ts';

const TASKS = [
  'task.id',
  'statusUpdate.taskId',
  'artifactUpdate.taskId',
  'message.taskId',
  'result.task.id',
  'result.statusUpdate.taskId',
  'result.artifactUpdate.taskId',
  'result.message.taskId',
  // Of revision 0.3, where the result is the thing itself.
  'result.id',
  'result.taskId',
];
const CONTEXTS = [
  'task.contextId',
  'statusUpdate.contextId',
  'message.contextId',
  'result.task.contextId',
  'result.statusUpdate.contextId',
  'result.message.contextId',
  'result.contextId',
];
const ERRORS = ['error.code', 'error.message'];
const PATHS = pathsOf([...TASKS, ...CONTEXTS, ...ERRORS]);
const CONTEXT = TASKS.length;
const ERROR = CONTEXT + CONTEXTS.length;
/** More than these are no tasks of one message. */
const TASKS_MAX = 1_000;

/** What is known of a message when it is sent. */
export interface Sent {
  readonly callId: CallId;
  /** JSON-RPC, or the HTTP binding. */
  readonly isRpc: boolean;
  /** The task that it goes on with. */
  readonly task: string | null;
}

/** A message counts once the agent has answered it without an error, and each task that its answer is the first to name. */
export function a2aMeter(sent: Sent, answer: AnswerHead): Meter {
  const isStream = isEventStream(answer);
  return rpcMeter(answer.status >= 400 ? refusedReader(PATHS) : a2aReader(sent), isStream);
}

function a2aReader({ callId, isRpc, task }: Sent): RpcReader {
  const tasks = new Set<string>();
  let context: string | null = null;
  let isAnswered = false;
  let hasFailed = false;
  let failed = false;
  return {
    paths: PATHS,
    value(kept, value) {
      if (kept >= ERROR) failed = true;
      else if (kept >= CONTEXT) context ??= parseName(value);
      else {
        const named = parseName(value);
        if (named !== null && tasks.size < TASKS_MAX) tasks.add(named);
      }
    },
    message() {
      if (failed) hasFailed = true;
      else isAnswered = true;
      failed = false;
    },
    drop() {
      failed = false;
    },
    read(whole): Reading {
      const isNew = [...tasks].filter((one) => one !== task).length;
      const counts = isAnswered ? { calls: 1n, messages: 1n, ...(isNew > 0 && { tasks: BigInt(isNew) }) } : {};
      const [first = task] = tasks;
      return {
        ...NOTHING_READ,
        usage: isAnswered || hasFailed ? { counts, raw: null } : null,
        complete: whole && (isAnswered || hasFailed),
        undone: whole && hasFailed && !isAnswered,
        run: first,
        session: context,
      };
    },
    breakOff(message, code) {
      return isRpc
        ? encodeUtf8(`data: ${JSON.stringify(rpcError(callId, -31_502, message, { code }))}\n\n`)
        : undefined;
    },
  };
}
