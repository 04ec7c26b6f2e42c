/** What we use of Cloudflare's own module; its full types would replace those of the web platform everywhere. */
declare module 'cloudflare:workers' {
  import type { DurableObjectState } from '@cloudflare/workers-types';

  export abstract class DurableObject<Env = unknown> {
    constructor(ctx: DurableObjectState, env: Env);
    protected ctx: DurableObjectState;
    protected env: Env;
    alarm?(): Promise<void>;
  }
}
