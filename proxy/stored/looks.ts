import type { Ending } from '../ending.ts';
import type { ExchangeEnd } from '../exchange.ts';
import { ANTHROPIC_BATCH } from '../wire/anthropic-batches.ts';
import { isObject } from '../wire/bytes.ts';
import { OperationReader } from '../wire/gemini-videos.ts';
import { MadeReader } from '../wire/made-reader.ts';
import { OPENAI_BATCH } from '../wire/openai-batches.ts';
import { ResponseReader } from '../wire/openai-response-reader.ts';
import { VideoReader } from '../wire/openai-videos.ts';
import { jsonMeter } from '../wire/paths-meter.ts';
import { SILENT_METER } from '../wire/unmetered.ts';
import type { AnswerHead, Meter, Reading } from '../wire/wire.ts';
import { wireOfRequest } from './batch-asked.ts';
import { type Result, ResultsMeter } from './batch-results.ts';
import type { Ask } from './looking.ts';
import type { OpenCall, StoredKind } from './stored.ts';

/** going: it is not over. over: how it ended. gone: its provider does not know it any more. unseen: it did not say. */
export type Looked =
  | { readonly kind: 'going' | 'gone' }
  | { readonly kind: 'over'; readonly ending: Ending }
  | { readonly kind: 'unseen'; readonly why: unknown };

/** Keeps files that a call has written for its customer, before they can be asked for. */
type KeepFiles = (files: readonly string[]) => Promise<void>;

type Look = (call: OpenCall, ask: Ask, keepFiles: KeepFiles) => Promise<Looked>;

/** How each kind of thing is looked at while it may still be billed. */
export const LOOKS: Readonly<Partial<Record<StoredKind, Look>>> = {
  response: lookAtResponse,
  batch: lookAtBatch,
  message_batch: lookAtMessageBatch,
  video: lookAtVideo,
  operation: lookAtOperation,
};

/** Of these what they came to stands in the answer that says that they are over. */
export const SAY_ALL: ReadonlySet<StoredKind> = new Set(['response', 'video']);

async function lookAtResponse({ path, object, asked }: OpenCall, ask: Ask): Promise<Looked> {
  return lookedOf(await ask(`${path}/${object}`, () => jsonMeter(new ResponseReader(asked, false))));
}

/** What is billed stands in the file of results, answer by answer, whatever became of the batch as a whole. */
async function lookAtBatch(call: OpenCall, ask: Ask, keepFiles: KeepFiles): Promise<Looked> {
  const looked = lookedOf(await ask(`${call.path}/${call.object}`, () => jsonMeter(new MadeReader(OPENAI_BATCH))));
  if (looked.kind !== 'over' || !('reading' in looked.ending)) return looked;
  const files = looked.ending.reading?.made?.files ?? [];
  await keepFiles(files);
  const results = new ResultsMeter(openaiResult, () => meterOfAnswer(call));
  for (const file of files) {
    const end = await ask(`${call.path.replace(/batches$/, 'files')}/${file}/content`, () => results);
    // Without one of its files nobody knows what it came to.
    if (end.kind !== 'answered') return unseen(end);
  }
  return overBy(results, looked.ending.reading);
}

function openaiResult({ custom_id, response }: Readonly<Record<string, unknown>>): Result | undefined {
  if (typeof custom_id !== 'string') return undefined;
  const served = isObject(response) && typeof response.status_code === 'number' && response.status_code < 300;
  return { id: custom_id, answer: served ? response.body : null };
}

async function lookAtMessageBatch(call: OpenCall, ask: Ask): Promise<Looked> {
  const path = `${call.path}/${call.object}`;
  const looked = lookedOf(await ask(path, () => jsonMeter(new MadeReader(ANTHROPIC_BATCH))));
  if (looked.kind !== 'over' || !('reading' in looked.ending)) return looked;
  const results = new ResultsMeter(anthropicResult, () => meterOfAnswer(call));
  const end = await ask(`${path}/results`, () => results);
  if (end.kind !== 'answered') return unseen(end);
  return overBy(results, looked.ending.reading);
}

/** Where the batch says that it was served and its results hold nothing, they are not there yet, or something else is. */
function overBy(results: ResultsMeter, batch: Reading | null): Looked {
  if (results.isEmpty && (batch?.made?.answers ?? 0) > 0) return { kind: 'unseen', why: 'its results hold nothing' };
  return { kind: 'over', ending: { kind: 'answered', status: 200, reading: results.read() } };
}

function anthropicResult({ custom_id, result }: Readonly<Record<string, unknown>>): Result | undefined {
  if (typeof custom_id !== 'string') return undefined;
  const served = isObject(result) && result.type === 'succeeded';
  return { id: custom_id, answer: served ? result.message : null };
}

async function lookAtVideo({ path, object }: OpenCall, ask: Ask): Promise<Looked> {
  return lookedOf(await ask(`${path}/${object}`, () => jsonMeter(new VideoReader())));
}

/** By its name, or to Vertex in a body that says its name. What its client sees does not say how long a video is. */
async function lookAtOperation({ path, object, asked, modelSent }: OpenCall, ask: Ask, keepFiles: KeepFiles) {
  const meterOf = (): Meter => jsonMeter(new OperationReader(asked));
  const looked = lookedOf(
    object.startsWith(BELOW_MODEL)
      ? await ask(`${path.slice(0, path.indexOf(BELOW_MODEL))}${object}`, meterOf)
      : await ask(fetchPath(path, modelSent ?? asked.model), meterOf, { operationName: object }),
  );
  if (looked.kind === 'over' && 'reading' in looked.ending) await keepFiles(looked.ending.reading?.made?.files ?? []);
  return looked;
}

const BELOW_MODEL = 'models/';

function fetchPath(path: string, model: string): string {
  return path.replace(/[^/]+:predictLongRunning$/, `${model}:fetchPredictOperation`);
}

/** Each answer is read as it would be had it been asked for alone. */
function meterOfAnswer({ asked }: OpenCall): Meter {
  const wire = wireOfRequest(asked.each ?? '');
  return wire ? wire.meter(asked, ALONE) : SILENT_METER;
}

const ALONE: AnswerHead = { status: 200, headers: { 'content-type': 'application/json' }, hideUsage: false };

function lookedOf(end: ExchangeEnd): Looked {
  if (end.kind !== 'answered') return end.kind === 'discarded' && GONE.has(end.status) ? { kind: 'gone' } : unseen(end);
  const { complete, made } = end.reading;
  return complete && made?.over ? { kind: 'over', ending: end } : { kind: 'going' };
}

const GONE: ReadonlySet<number> = new Set([404, 410]);

function unseen(end: Exclude<ExchangeEnd, { kind: 'answered' }>): Looked {
  return { kind: 'unseen', why: end.kind === 'discarded' ? `status ${end.status}` : end.failure.cause };
}
