import type { Log } from '#core/log.ts';
import type { Journal } from '#proxy/sink/journal/journal.ts';
import { recoverJournal } from '#proxy/sink/journal/recovery.ts';
import type { Stored } from '#proxy/stored/stored.ts';

export interface RecoveringParts {
  journal: Journal;
  stored: Stored;
  log: Log;
}

/** How soon what could not be decided is tried again: the store of what was handed over was away. */
const AGAIN_MS = 2_000;

/** Closes what the process before left open: at once, and what has to wait for the store of open calls until it is there. */
export function startRecovering({ journal, stored, log }: RecoveringParts): {
  begun: Promise<void>;
  stop(): void;
} {
  const isHandedOver = async (customer: string, id: string): Promise<boolean> =>
    (await stored.calls.find(customer, id)) !== undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;

  async function recover(entries?: Parameters<typeof recoverJournal>[1]): Promise<void> {
    const { closed, undecided } = await recoverJournal({ journal, isHandedOver }, entries);
    if (closed > 0) log.warn({ calls: closed }, 'calls that were in flight when the gateway died are now estimated');
    if (undecided.length === 0 || stopped) return;
    const again = (): void => {
      recover(undecided).catch((err: unknown) => log.error({ err }, 'what was in flight cannot be closed'));
    };
    timer = setTimeout(again, AGAIN_MS);
  }

  return {
    begun: recover(),
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
