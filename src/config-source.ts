import { dirname, resolve } from 'node:path';
import type { Config } from '#config/config.ts';
import type { EnvironmentVariables } from '#config/environment.ts';
import { readConfigText } from '#config/file.ts';
import { getConfig } from '#config/load.ts';
import { watchConfig } from '#config/watch.ts';
import type { Log } from '#core/log.ts';

/** Where the configuration comes from. Plain data, so that it can be handed to a thread. */
export interface ConfigOrigin {
  file: string;
  /** Stands in for an `upstreams:` section while the file has none (demonstration mode). */
  upstreams: string | null;
}

/** The configuration in force, and whoever wants to hear of the next one. */
export interface ConfigSource {
  readonly current: Config;
  onChange(listener: (config: Config) => void | Promise<void>): void;
  close(): void;
}

/** Reads the file and follows it. Throws `config_invalid` with every mistake when it is wrong at the start; later, keeps the old one. */
export async function openConfig(origin: ConfigOrigin, env: EnvironmentVariables, log: Log): Promise<ConfigSource> {
  const file = resolve(origin.file);
  const complete = (text: string): string =>
    origin.upstreams === null || /^upstreams:/m.test(text) ? text : `${text.trimEnd()}\n${origin.upstreams}`;
  let current = await getConfig(complete(await readConfigText(file)), { env, file });
  const listeners: ((config: Config) => void | Promise<void>)[] = [];
  const watch = await watchConfig({
    file,
    env,
    complete,
    config: current,
    onConfig(config, restart) {
      current = config;
      log.info({ version: config.version, folder: dirname(file) }, 'the new configuration is in force');
      if (restart.length > 0) log.warn({ settings: restart }, 'these settings take effect with the next start');
      for (const listener of listeners) void listener(config);
    },
    onFault: (fault) => log.error({ code: fault.code }, `the configuration stays as it was: ${fault.message}`),
  });
  return {
    get current() {
      return current;
    },
    onChange: (listener) => listeners.push(listener),
    close: () => watch.close(),
  };
}
