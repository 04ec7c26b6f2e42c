import { z } from 'zod';
import type { Exact } from '#core/exact.ts';
import { graduatedPrice, stepsByGraduation } from './graduated-price.ts';
import { packagePrice, stepsByPackage } from './package-price.ts';
import type { Step } from './step.ts';
import { stepsByUnit, unitPrice } from './unit-price.ts';
import { stepsByVolume, volumePrice } from './volume-price.ts';

/** Every kind of price, as it stands in a plan. A new kind is one file, one line here and one below. */
export const chargePrice = z.discriminatedUnion('kind', [unitPrice, graduatedPrice, volumePrice, packagePrice]);
export type ChargePrice = z.output<typeof chargePrice>;

/** What a quantity costs, step by step, in exact nanos. Called once per charge, with all of a period's quantity. */
export function priceSteps(price: ChargePrice, quantity: Exact): Step[] {
  switch (price.kind) {
    case 'unit':
      return stepsByUnit(price, quantity);
    case 'graduated':
      return stepsByGraduation(price, quantity);
    case 'volume':
      return stepsByVolume(price, quantity);
    case 'package':
      return stepsByPackage(price, quantity);
  }
}
