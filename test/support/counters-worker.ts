import type { DurableObjectState } from '@cloudflare/workers-types';
import { Fault } from '#core/fault.ts';
import { SILENT } from '#core/log.ts';
import { CustomerCounters, type CustomerCountersStub, durableObjectCounters } from '#proxy/limits/durable-object.ts';
import { encodeBigints, type Kept, parseBigints, type Step, type StepAnswer } from './counters-steps.ts';
import { spend } from './spend.ts';

interface Queue {
  fetch(address: string, init: { method: string; body: string }): Promise<Response>;
}

/** The counters of the Durable Object with a clock that a test sets, and a queue that a test can break. */
export class TestCounters extends CustomerCounters {
  protected override readonly log = SILENT;
  #clockMs: number | null = null;

  constructor(ctx: DurableObjectState, { QUEUE }: { QUEUE: Queue }) {
    super(ctx, {
      EVENTS: {
        async sendBatch(messages) {
          const body = encodeBigints([...messages].map((message) => message.body));
          const { ok } = await QUEUE.fetch('http://queue', { method: 'POST', body });
          if (!ok) throw new Error('the queue is down');
        },
      },
    });
  }

  protected override now(): number {
    return this.#clockMs ?? super.now();
  }

  setClock(nowMs: number | null): void {
    this.#clockMs = nowMs;
  }

  ring(): Promise<void> {
    return this.alarm();
  }

  look(): Kept {
    const tables = this.ctx.storage.sql
      .exec<{ name: string }>(
        "select name from sqlite_master where type = 'table' and name not like '\\_cf%' escape '\\'",
      )
      .toArray();
    const rows = (table: string) => this.ctx.storage.sql.exec(`select 1 from ${table}`).toArray().length;
    return Object.fromEntries(tables.map(({ name }) => [name, rows(name)]));
  }
}

interface TestStub extends CustomerCountersStub {
  setClock(nowMs: number | null): Promise<void>;
  ring(): Promise<void>;
  look(): Promise<Kept>;
}

interface Env {
  COUNTERS: { getByName(name: string): TestStub };
}

/** Runs steps in workerd, one after the other, over the client that the gateway uses there. */
export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const answers: StepAnswer[] = [];
    let before: Step | undefined;
    for (const step of parseBigints<Step[]>(await request.text())) {
      if (step.customer !== before?.customer || step.clockMs !== before.clockMs) {
        await env.COUNTERS.getByName(step.customer).setClock(step.clockMs);
      }
      answers.push(await answer(step, env));
      before = step;
    }
    return new Response(encodeBigints(answers));
  },
};

async function answer(step: Step, env: Env): Promise<StepAnswer> {
  try {
    return { value: await run(step, env) };
  } catch (error) {
    const code = error instanceof Fault ? error.code : undefined;
    return { error: { message: String(error), code } };
  }
}

async function run(step: Step, env: Env) {
  const counters = durableObjectCounters(env.COUNTERS);
  const object = env.COUNTERS.getByName(step.customer);
  switch (step.verb) {
    case 'reserve':
      return counters.reserve(step.reservation);
    case 'settle':
      return counters.settle(step.reservation, step.used, step.event);
    case 'release':
      await counters.release(step.reservation);
      return undefined;
    case 'open':
      await object.open(step.reservation, step.used, step.event);
      return undefined;
    case 'seed':
      await counters.seed(step.customer, step.seed);
      return undefined;
    case 'extend':
      return counters.extend(step.reservation, step.amounts);
    case 'listLive':
      return counters.listLive(step.customer, step.after, step.max);
    case 'listDebts':
      return counters.listDebts(step.customer, step.after, step.max);
    case 'read':
      return counters.read(step.customer, step.counter);
    case 'ring':
      await object.ring();
      return undefined;
    case 'look':
      return object.look();
    case 'spend':
      return spend([counters], step.customer);
  }
}
