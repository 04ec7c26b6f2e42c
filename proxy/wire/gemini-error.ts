import { encodeUtf8 } from './bytes.ts';

/** Errors as Google's APIs word them (google.rpc.Status). */
function statusOf(message: string, reason: string): object {
  return {
    error: {
      code: 500,
      message,
      status: 'INTERNAL',
      details: [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason, domain: 'weir' }],
    },
  };
}

/** An error inside an event stream: Google's SDKs throw on an event that holds one. */
export function errorEvent(message: string, code: string): Uint8Array {
  return encodeUtf8(`data: ${JSON.stringify(statusOf(message, code))}\r\n\r\n`);
}

/** An error as the last element of a list, which it closes. */
export function errorElement(message: string, code: string, comma: boolean): Uint8Array {
  return encodeUtf8(`${comma ? ',\r\n' : ''}${JSON.stringify(statusOf(message, code))}\r\n]`);
}
