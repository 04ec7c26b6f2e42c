import type { QuantityPrice } from '#config/price-terms.ts';
import type { Exact } from '#core/exact.ts';
import { stepsByGraduatedPercentage, stepsByGraduation } from './graduated-price.ts';
import { stepsByPackage } from './package-price.ts';
import type { Step } from './step.ts';
import { stepsByCredits, stepsByUnit } from './unit-price.ts';
import { stepsByStairstep, stepsByVolume } from './volume-price.ts';

/** What a quantity costs, step by step, in exact nanos. */
export function stepsByQuantity(price: QuantityPrice, quantity: Exact): Step[] {
  switch (price.kind) {
    case 'unit':
      return stepsByUnit(price, quantity);
    case 'graduated':
      return stepsByGraduation(price, quantity);
    case 'volume':
      return stepsByVolume(price, quantity);
    case 'stairstep':
      return stepsByStairstep(price, quantity);
    case 'package':
      return stepsByPackage(price, quantity);
    case 'graduated_percentage':
      return stepsByGraduatedPercentage(price, quantity);
    case 'credits':
      return stepsByCredits(price, quantity);
  }
}
