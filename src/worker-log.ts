import type { Log } from '#core/log.ts';
import type { Observer } from '#proxy/observer.ts';
import { unpricedLog } from '#proxy/telemetry/unpriced-log.ts';
import { withoutSecrets } from './redact.ts';

/** On Workers the console is the log: one JSON object per line, without secrets and without what people wrote. */
export function workerLog(): Log {
  const at = (level: 'info' | 'warn' | 'error') => (fields: object, text: string) =>
    console[level](JSON.stringify({ level, ...(withoutSecrets(fields) as object), msg: withoutSecrets(text) }));
  return { debug: () => undefined, info: at('info'), warn: at('warn'), error: at('error') };
}

/** What is said there of the gateway's calls; figures come from the usage events. */
export function workerObserver(log: Log): Observer {
  const sayUnpriced = unpricedLog(log);
  return {
    callStarted: () => undefined,
    callEnded: (_call, event) => sayUnpriced(event.data),
    callRefused: ({ id, customer, key }, { code, limit }) =>
      log.info({ id, customer, key, code, limit }, 'A limit refused a call.'),
    faulted: (fault, id) => {
      if (fault.status >= 500) log.warn({ id, err: fault }, 'A call was answered with a fault.');
    },
  };
}
