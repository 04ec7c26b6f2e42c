import type { z } from 'zod';
import { fields, nameText } from './fields.ts';
import { flag, pattern } from './scalars.ts';

/** What the operator has switched off. */
export const halt = fields({
  customer: nameText('a customer').optional().describe('Calls of this customer are refused.'),
  key: nameText('a key').optional().describe('Calls with this key are refused.'),
  upstream: nameText('an upstream').optional().describe('Nothing is sent to this upstream; its fallbacks take over.'),
  model: pattern().optional().describe('Calls of these models are not sent.'),
  cut_open: flag(false).optional().describe('Calls in flight end too.'),
}).superRefine((value, context) => {
  if (value.customer ?? value.key ?? value.upstream ?? value.model) return;
  context.addIssue({ code: 'custom', message: 'must name a customer, a key, an upstream or a model' });
});

export type HaltFile = z.output<typeof halt>;
