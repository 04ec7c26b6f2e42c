import { customerRoutes } from '#billing/customers/http.ts';
import { eventRoutes } from '#billing/events/http.ts';
import type { Api } from '#billing/http/route.ts';
import { keyRoutes } from '#billing/keys/http.ts';
import type { PolicyFeed } from '#billing/policies/feed.ts';
import { policyRoutes } from '#billing/policies/http.ts';
import { tokenRoutes } from '#billing/tokens/http.ts';
import { usageRoutes } from '#billing/usage/http.ts';

export interface RouteParts {
  policies: PolicyFeed;
}

/** Every route of the billing API: each noun adds its line here. */
export function billingRoutes(parts: RouteParts): (api: Api) => void {
  return (api) => {
    customerRoutes(api, parts.policies.nudge);
    keyRoutes(api, parts.policies.nudge);
    policyRoutes(api, parts.policies);
    tokenRoutes(api);
    eventRoutes(api);
    usageRoutes(api);
  };
}
