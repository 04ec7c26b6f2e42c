import type { Frame } from '../socket/socket.ts';
import { decodeUtf8, encodeUtf8, isObject, parseJson } from './bytes.ts';
import type { ErrorAnswer } from './dialect.ts';

/** An error event on a socket: what the answer to a request would say. `about` and `within`: what stands beside it, and in it. */
export function errorFrameOf({ body }: ErrorAnswer, about: object, within: object): Frame {
  const parsed = parseJson(decodeUtf8(body))?.value;
  const error = isObject(parsed) && isObject(parsed.error) ? parsed.error : {};
  return {
    bytes: encodeUtf8(JSON.stringify({ type: 'error', ...about, error: { ...error, ...within } })),
    isText: true,
  };
}

/** The id of the request that an answer is to. */
export function requestIdOf({ body }: ErrorAnswer): string {
  const parsed = parseJson(decodeUtf8(body))?.value;
  const weir = isObject(parsed) && isObject(parsed.error) ? parsed.error.weir : null;
  return isObject(weir) && typeof weir.request_id === 'string' ? weir.request_id : '';
}
