import { expect, vi } from 'vitest';
import type { UsageEvent } from '#core/usage-event.ts';
import type { RunningGateway } from './running-gateway.ts';

/** The events of these calls, from where events leave the gateway; waits until they are there, each once. */
export async function emittedBy(gateway: RunningGateway, ids: readonly (string | null | undefined)[]) {
  return vi.waitFor(
    async () => {
      const all = await gateway.emitted();
      const byId = new Map<string, UsageEvent>(all.map((event) => [event.id, event]));
      expect(all.length).toBe(byId.size);
      for (const id of ids) expect(byId.has(id ?? ''), `an event for ${id}`).toBe(true);
      return byId;
    },
    { timeout: 10_000 },
  );
}

/** The one event of each of these sessions; waits until they are there. */
export async function emittedInSessions(gateway: RunningGateway, sessions: readonly string[]) {
  return vi.waitFor(
    async () => {
      const all = await gateway.emitted();
      return new Map(
        sessions.map((session) => {
          const own = all.filter(({ data }) => data.session === session);
          expect(own, `one event of session ${session}`).toHaveLength(1);
          return [session, own[0] as UsageEvent];
        }),
      );
    },
    { timeout: 10_000 },
  );
}
