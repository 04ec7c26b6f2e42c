import type { TelemetrySettings } from '#config/config.ts';
import type { Log } from '#core/log.ts';
import type { Observer } from '#proxy/observer.ts';

export function createTelemetry(
  _settings: TelemetrySettings,
  { log }: { version: string; log: Log },
): { observer: Observer; close(): Promise<void> } {
  return {
    observer: {
      callStarted: () => undefined,
      callEnded: (call, event) => log.debug({ request: call.id, outcome: event.data.outcome }, 'call ended'),
      callRefused: (call, refusal) =>
        log.info(
          { request: call.id, customer: call.customer, key: call.key, code: refusal.code, limit: refusal.limit },
          'call refused',
        ),
      faulted: (fault, request) =>
        log.info(
          {
            request,
            code: fault.code,
            story: fault.story,
            cause: fault.cause === undefined ? undefined : String(fault.cause),
          },
          fault.message,
        ),
    },
    close: async () => undefined,
  };
}
