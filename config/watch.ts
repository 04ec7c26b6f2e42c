import { type FSWatcher, watch } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { faultOf } from '#core/fault.ts';
import type { Config } from './config.ts';
import type { EnvironmentVariables } from './environment.ts';
import { readConfigText } from './file.ts';
import { configFault, parseConfig } from './load.ts';
import { needRestart } from './settings.ts';

export interface WatchOptions {
  file: string;
  env: EnvironmentVariables;
  /** Adds to the text of the file before it is parsed; the lines that are there keep their numbers. */
  complete?: ((text: string) => string) | undefined;
  /** What is in force now. */
  config: Config;
  /** The new configuration is right and means something else. `restart` names what takes effect with the next start only. */
  onConfig(config: Config, restart: readonly string[]): void;
  /** The file cannot be read or has mistakes, all of them in the Fault: what was in force stays. */
  onFault(fault: ReturnType<typeof faultOf>): void;
  /** How long the file must be left alone before it is read: editors write in several steps. */
  debounceMs?: number;
}

export interface ConfigWatch {
  /** Reads the file now. Resolves when the configuration that it makes, if any, is in force. */
  reload(): Promise<void>;
  close(): void;
}

const DEBOUNCE_MS = 100;

/**
 * Follows the configuration file: by the events of its folder, so that it survives editors that rename and Kubernetes,
 * which turns a link to another folder; and by SIGHUP, for file systems that have no events.
 */
export async function watchConfig(options: WatchOptions): Promise<ConfigWatch> {
  const { file, env, onConfig, onFault, debounceMs = DEBOUNCE_MS } = options;
  let current = options.config;
  let lastText: string | undefined;
  let timer: NodeJS.Timeout | undefined;
  let queue = Promise.resolve();
  let closed = false;

  async function read(isForced: boolean): Promise<void> {
    try {
      const text = await readConfigText(file);
      if (closed || (text === lastText && !isForced)) return;
      lastText = text;
      const result = await parseConfig(options.complete?.(text) ?? text, { env });
      if (closed) return;
      if ('problems' in result) return onFault(configFault(result.problems, file));
      if (result.config.version === current.version) return;
      const restart = needRestart(current, result.config);
      current = result.config;
      onConfig(current, restart);
    } catch (error) {
      if (!closed) onFault(faultOf(error));
    }
  }

  /** One at a time, so that the last state of the file is the last that is told. */
  function enqueue(isForced: boolean): Promise<void> {
    queue = queue.then(() => (closed ? undefined : read(isForced)));
    return queue;
  }

  function reload(): Promise<void> {
    clearTimeout(timer);
    return enqueue(true);
  }

  function changed(): void {
    clearTimeout(timer);
    timer = setTimeout(() => void enqueue(false), debounceMs);
  }

  function hangup(): void {
    void reload();
  }

  const folders = new Set([dirname(file), dirname(await realpath(file))]);
  const watchers: FSWatcher[] = [];
  for (const folder of folders) {
    const watcher = watch(folder, changed);
    watcher.on('error', (error) => onFault(faultOf(error)));
    watchers.push(watcher);
  }
  process.on('SIGHUP', hangup);
  // What happened between the start and here.
  changed();

  return {
    reload,
    close() {
      closed = true;
      clearTimeout(timer);
      process.off('SIGHUP', hangup);
      for (const watcher of watchers) watcher.close();
    },
  };
}
