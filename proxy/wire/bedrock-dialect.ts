import { FAULTS, type Fault } from '#core/fault.ts';
import { encodeAwsMessage } from './aws-event-stream.ts';
import { encodeUtf8 } from './bytes.ts';
import { type Dialect, faultHeaders, type ModelSeen, refusalWords } from './dialect.ts';

const REQUEST_ID_HEADER = 'x-amzn-requestid';
const ERROR_TYPE_HEADER = 'x-amzn-errortype';

/**
 * Bedrock's words: its SDKs raise the class that a header names, and ask again on throttling and on every 5xx. What is
 * used up is a quota, which they do not ask for again.
 */
export const bedrockDialect: Dialect = {
  requestIdHeader: REQUEST_ID_HEADER,
  paths: ['/model/', '/async-invoke', '/guardrail/'],
  header: 'amz-sdk-invocation-id',

  fault(fault, requestId) {
    const [status, type] = EXCEPTIONS[fault.status] ?? INTERNAL;
    const weir = { code: fault.code, request_id: requestId };
    return answer(status, type, { message: fault.message, weir }, requestId, faultHeaders(fault));
  },

  refusal(refusal, requestId) {
    const { sentence, weir, headers } = refusalWords(refusal, requestId);
    const isBudget = refusal.kind === 'budget';
    const [status, type] = isBudget ? QUOTA : (EXCEPTIONS[FAULTS[refusal.code].status] ?? INTERNAL);
    return answer(status, type, { message: sentence, weir }, requestId, headers);
  },

  models: (models) => ({ modelSummaries: models.map(modelAnswer) }),
  model: modelAnswer,
};

type Exception = readonly [status: number, type: string];

const QUOTA: Exception = [400, 'ServiceQuotaExceededException'];
const INTERNAL: Exception = [500, 'InternalServerException'];
const UNAVAILABLE: Exception = [503, 'ServiceUnavailableException'];

/** By our status: Bedrock has fewer. */
const EXCEPTIONS: Readonly<Record<number, Exception>> = {
  400: [400, 'ValidationException'],
  401: [403, 'AccessDeniedException'],
  403: [403, 'AccessDeniedException'],
  404: [404, 'ResourceNotFoundException'],
  405: [400, 'ValidationException'],
  408: [408, 'ModelTimeoutException'],
  413: [400, 'ValidationException'],
  429: [429, 'ThrottlingException'],
  431: [400, 'ValidationException'],
  502: UNAVAILABLE,
  503: UNAVAILABLE,
  504: [408, 'ModelTimeoutException'],
};

function answer(
  status: number,
  type: string,
  body: object,
  requestId: string | null,
  more: readonly string[],
): ReturnType<Dialect['fault']> {
  const ids = requestId === null ? [] : ['x-request-id', requestId, REQUEST_ID_HEADER, requestId];
  return {
    status,
    headers: ['content-type', 'application/json', ERROR_TYPE_HEADER, type, ...ids, ...more],
    body: encodeUtf8(`${JSON.stringify(body)}\n`),
  };
}

function modelAnswer({ id, owner }: ModelSeen): object {
  return { modelId: id, providerName: owner };
}

/** Where a limit ends a stream. */
const LIMITS: ReadonlySet<string> = new Set<Fault['code']>(['rate_limited', 'budget_exhausted', 'concurrency_limited']);

/** An error inside a stream: a message that is an exception, with the CRCs that its reader checks. */
export function exceptionMessage(message: string, code: string): Uint8Array {
  return encodeAwsMessage({
    headers: {
      ':exception-type': LIMITS.has(code) ? 'throttlingException' : 'modelStreamErrorException',
      ':content-type': 'application/json',
      ':message-type': 'exception',
    },
    payload: encodeUtf8(JSON.stringify({ message })),
  });
}
