import type { Config } from '#config/config.ts';
import type { AttemptsParts } from './attempts.ts';
import type { CounterBook, Counters, MaybePromise } from './limits/counters.ts';
import type { Observer } from './observer.ts';
import type { Policies } from './policies/policies.ts';
import type { Sink } from './sink/sink.ts';
import type { Dialer } from './socket/socket.ts';
import type { StoredParts } from './stored/keeping.ts';
import type { TokenCounter } from './tokens/token-counter.ts';

/**
 * What a main builds a gateway of. It gives each inbound call to `handle`, each socket to `handleSocket`, each new
 * configuration to `use`, and calls `drain` before it leaves:
 *
 *     const gateway = new Gateway({ config, policies, counters, sink, upstream, observer, hash, ready, clock, random });
 *     const listener = await listen(gateway, config.gateway);   // inbound/node.ts
 */
export interface GatewayParts extends AttemptsParts {
  config: Config;
  policies: Policies;
  counters: Counters & Pick<CounterBook, 'read' | 'listLive' | 'listDebts'>;
  /** Counts tokens where bounds are too coarse; without it they stay. */
  tokens?: TokenCounter;
  sink: Sink;
  /** Sockets to upstreams; without it no socket is taken. */
  dialer?: Dialer;
  observer: Observer;
  /** SHA-256 of a secret as lower-case hex. */
  hash: (secret: string) => MaybePromise<string>;
  /** What `/readyz` says while the gateway takes calls. */
  ready: () => MaybePromise<boolean>;
  /** What `/metrics` says, in the text format of Prometheus; without it there is nothing at that path. */
  metrics?: () => string;
  /** Whose it is what providers keep; without it nothing of that can be asked for. */
  stored?: StoredParts;
  /** SHA-256 of the operator's token as lower-case hex; without it there is nothing below /operator. */
  operatorHash?: string;
}
