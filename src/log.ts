import { pino } from 'pino';
import type { Log } from '#core/log.ts';

/** Field names that never reach a log, wherever somebody puts them: secrets, credentials and what people wrote to a model. */
const REDACTED = [
  'authorization',
  'secret',
  'password',
  'credential',
  'headers',
  'messages',
  'prompt',
  'content',
  'body',
];

/** One JSON object per line on stderr; stdout is for people. */
export function createLog(level: string, role: string): Log {
  return pino(
    {
      level,
      base: { role },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: REDACTED.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
    },
    pino.destination({ fd: 2, sync: true }),
  );
}
