import type { Log } from '#core/log.ts';
import type { UsageEventData } from '#core/usage-event.ts';

/** Names of models are the callers' to choose: what was said is forgotten when it holds this many. */
const SAID_MAX = 1_000;

/** Says of every model that is used without a known price that it is, once, and again when other units have none. */
export function unpricedLog(log: Log): (data: UsageEventData) => void {
  const said = new Set<string>();
  return (data) => {
    if (data.unpriced.length === 0) return;
    const { provider, upstream, model, model_served, service_tier, unpriced: units } = data;
    const name = JSON.stringify([provider, upstream, model, model_served, service_tier, units]);
    if (said.has(name)) return;
    if (said.size >= SAID_MAX) said.clear();
    said.add(name);
    log.warn(
      { provider, upstream, model, model_served, service_tier, units },
      'A model was used that has no known price.',
    );
  };
}
