/**
 * Where a part of Weir says what happened. pino has this shape; the main hands it in. Fields never hold a secret, a
 * prompt or an answer.
 */
export interface Log {
  debug(fields: object, text: string): void;
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

const nothing = (): void => undefined;

/** For tests and tools that have nothing to say. */
export const SILENT: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
