import { attributionRoutes } from '#billing/attribution/http.ts';
import { correctionRoutes } from '#billing/corrections/http.ts';
import { costRoutes } from '#billing/costs/http.ts';
import { customerRoutes } from '#billing/customers/http.ts';
import { eventRoutes } from '#billing/events/http.ts';
import { haltRoutes } from '#billing/halts/http.ts';
import type { Api } from '#billing/http/route.ts';
import { invoiceRoutes } from '#billing/invoices/http.ts';
import { keyRoutes } from '#billing/keys/http.ts';
import { lateUsageRoutes } from '#billing/late-usage/http.ts';
import { limitWarningRoutes } from '#billing/limit-warnings/http.ts';
import { meterRoutes } from '#billing/meters/http.ts';
import { otlpRoutes } from '#billing/otlp/http.ts';
import { outcomeRoutes } from '#billing/outcomes/http.ts';
import { parkedEventRoutes } from '#billing/parked-events/http.ts';
import { planRoutes } from '#billing/plans/http.ts';
import type { PolicyFeed } from '#billing/policies/feed.ts';
import { policyRoutes } from '#billing/policies/http.ts';
import { priceRoutes } from '#billing/prices/http.ts';
import { readingRoutes } from '#billing/readings/http.ts';
import { repairRoutes } from '#billing/repairs/http.ts';
import { simulationRoutes } from '#billing/simulations/http.ts';
import { subscriptionRoutes, unsubscribedRoutes } from '#billing/subscriptions/http.ts';
import { templateRoutes } from '#billing/templates/http.ts';
import { tokenRoutes } from '#billing/tokens/http.ts';
import { typedEventRoutes } from '#billing/typed-events/http.ts';
import { usageRoutes } from '#billing/usage/http.ts';
import type { PriceBook } from '#core/price.ts';

export interface RouteParts {
  policies: PolicyFeed;
  /** The provider prices of the configuration in force. */
  priceBook: () => PriceBook;
}

/** Every route of the billing API: each noun adds its line here. */
export function billingRoutes(parts: RouteParts): (api: Api) => void {
  return (api) => {
    customerRoutes(api, parts.policies.nudge);
    keyRoutes(api, parts.policies.nudge);
    haltRoutes(api, parts.policies.nudge);
    policyRoutes(api, parts.policies);
    tokenRoutes(api);
    parkedEventRoutes(api, parts.priceBook);
    attributionRoutes(api);
    correctionRoutes(api, parts.priceBook);
    otlpRoutes(api, parts.priceBook);
    typedEventRoutes(api, parts.priceBook);
    templateRoutes(api, parts.priceBook);
    eventRoutes(api, parts.priceBook);
    usageRoutes(api);
    readingRoutes(api);
    repairRoutes(api);
    costRoutes(api, parts.priceBook);
    lateUsageRoutes(api);
    limitWarningRoutes(api);
    meterRoutes(api);
    planRoutes(api);
    priceRoutes(api);
    simulationRoutes(api);
    outcomeRoutes(api);
    subscriptionRoutes(api, parts.policies.nudge);
    unsubscribedRoutes(api);
    invoiceRoutes(api);
  };
}
