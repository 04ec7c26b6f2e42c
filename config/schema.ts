import type { z } from 'zod';
import { fields, list, nameRecord } from './fields.ts';
import { flag } from './scalars.ts';
import { customer, plan } from './schema-customers.ts';
import { halt } from './schema-halts.ts';
import { meter } from './schema-meters.ts';
import { model } from './schema-models.ts';
import { route, upstream } from './schema-routing.ts';
import { billing, gateway, telemetry } from './schema-settings.ts';

/**
 * What the YAML file may say, and nothing else. Descriptions go into the published JSON Schema and the documentation.
 * Rules that concern several parts of the file are in references.ts.
 */
export const configSchema = fields({
  allow_plaintext_secrets: flag(false)
    .optional()
    .describe('Take secrets and credentials that stand in the file as they are. For trying things out.'),
  gateway: gateway.optional(),
  billing: billing.optional(),
  telemetry: telemetry.optional(),
  upstreams: nameRecord('an upstream', upstream)
    .optional()
    .describe('Where requests are sent: provider, address and credential.'),
  routes: list(route)
    .optional()
    .describe(
      'Which upstream serves which model. Without a rule a model goes to the first upstream of the file that has it.',
    ),
  halts: list(halt)
    .optional()
    .describe('What is switched off for the moment. Each entry is for the calls that match every name in it.'),
  models: list(model).optional().describe('Costs and sizes of models that the catalogue has not, or has otherwise.'),
  customers: nameRecord('a customer', customer).optional().describe('Who owns keys and is billed.'),
  meters: nameRecord('a meter', meter)
    .optional()
    .describe('What is measured beside the units, and how it adds up. Charges of plans name them.'),
  plans: nameRecord('a plan', plan)
    .optional()
    .describe('What is billed, and at which prices. A change counts for the periods that begin after it.'),
}).describe('Weir configuration');

export type ConfigFile = z.output<typeof configSchema>;
