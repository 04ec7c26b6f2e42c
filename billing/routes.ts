import type { Api } from '#billing/http/route.ts';
import { tokenRoutes } from '#billing/tokens/http.ts';

/** Every route of the billing API: each noun adds its line here. */
export function billingRoutes(api: Api): void {
  tokenRoutes(api);
}
