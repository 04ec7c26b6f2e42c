import { parseReservation, parseUsed } from '#proxy/limits/reservation-text.ts';
import type { Closing, Sink } from '#proxy/sink/sink.ts';
import type { Journal, JournalEntry } from './journal.ts';

const AT_ONCE = 256;
const PAGE = { count: 1000, bytes: 4 * 1024 * 1024 };

/**
 * Closes what the process before opened and could not close, each with the estimate that its opening left. To be
 * called once, before the first call is taken. Answers how many there were. A crash in the middle of it is harmless:
 * what was not closed yet is still open for the next start.
 */
export async function recoverJournal({ journal, sink }: { journal: Journal; sink: Sink }): Promise<number> {
  const entries = await journal.live();
  for (let i = 0; i < entries.length; i += AT_ONCE) {
    await Promise.all(entries.slice(i, i + AT_ONCE).map((entry) => sink.close(closingOf(entry))));
  }
  return entries.length;
}

/** What was closed and not shipped, oldest first: what counters in memory have to know before billing does. */
export async function* unshippedClosings(journal: Journal): AsyncGenerator<Closing> {
  let page = await journal.read(journal.cursor, PAGE);
  while (page.entries.length > 0) {
    for (const entry of page.entries) if (entry.event !== '') yield closingOf(entry);
    page = await journal.read(page.next, PAGE);
  }
}

function closingOf(entry: JournalEntry): Closing {
  return {
    reservation: parseReservation(entry.reservation),
    used: parseUsed(entry.used),
    event: JSON.parse(entry.event),
  };
}
