import { expect, it } from 'vitest';
import { SILENT } from '#core/log.ts';
import { usageEvent } from '#test/support/usage-events.ts';
import { unpricedLog } from './unpriced-log.ts';

it('says once of a model that it is used without a price, and again for other units of it', () => {
  const said: object[] = [];
  const log = { ...SILENT, warn: (fields: object) => void said.push(fields) };
  const say = unpricedLog(log);
  const { data } = usageEvent();
  say(data);
  say({ ...data, model: 'gpt-99', unpriced: ['input_tokens'] });
  say({ ...data, model: 'gpt-99', unpriced: ['input_tokens'] });
  say({ ...data, model: 'gpt-99', unpriced: ['images'] });
  expect(said).toMatchObject([
    { model: 'gpt-99', provider: 'openai', units: ['input_tokens'] },
    { model: 'gpt-99', units: ['images'] },
  ]);
  for (let i = 0; i < 2_000; i++) say({ ...data, model: `made-up-${i}`, unpriced: ['images'] });
  say({ ...data, model: 'gpt-99', unpriced: ['images'] });
  expect(said).toHaveLength(2_003);
});
