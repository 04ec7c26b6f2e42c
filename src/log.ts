import { pino } from 'pino';
import type { Log } from '#core/log.ts';
import { withoutSecrets } from './redact.ts';

/** Where lines go. A write is done when it returns. */
export interface LogSink {
  write(line: string): void;
}

/** One JSON object per line on stderr; stdout is for people. Secrets and what people wrote to a model are taken out. */
export function createLog(level: string, role: string, sink: LogSink = pino.destination({ fd: 2, sync: true })): Log {
  const serializers = { err: (error: unknown) => error };
  const logger = pino({ level, base: { role }, timestamp: pino.stdTimeFunctions.isoTime, serializers }, sink);
  const at = (name: 'debug' | 'info' | 'warn' | 'error') => (fields: object, text: string) => {
    if (logger.isLevelEnabled(name)) logger[name](withoutSecrets(fields), String(withoutSecrets(text)));
  };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}
