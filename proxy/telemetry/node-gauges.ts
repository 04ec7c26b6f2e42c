import type { Gateway } from '../gateway.ts';
import type { Journal } from '../sink/journal/journal.ts';
import type { Shipper } from '../sink/journal/shipper.ts';
import type { Gauge } from './metric-store.ts';

/** How a gateway stands. What says 1 or grows here is what an operator should be told about. */
export function gatewayGauges(parts: { gateway: Gateway; journal: Journal; shipper: Shipper }): Gauge[] {
  const { gateway, journal, shipper } = parts;
  const gauge = (name: string, unit: string, description: string, read: () => number): Gauge => ({
    name,
    unit,
    description,
    read,
  });
  return [
    gauge(
      'weir.calls.in_flight',
      '{call}',
      'Requests that are being answered, this look included',
      () => gateway.callsInFlight,
    ),
    gauge('weir.calls.open', '{call}', 'Calls that are opened in the journal', () => journal.liveCount),
    gauge('weir.journal.size', 'By', 'What the journal takes on the disk', () => journal.bytes),
    gauge('weir.journal.refusing', '', '1 while usage cannot be recorded and calls are refused', () =>
      journal.fault ? 1 : 0,
    ),
    gauge('weir.events.unshipped', '{event}', 'Usage events that wait to be shipped', () => shipper.backlog().count),
    gauge('weir.events.unshipped.size', 'By', 'What of the journal waits to be shipped', () => shipper.backlog().bytes),
    gauge(
      'weir.events.unshipped.age',
      's',
      'How long the oldest of them has waited',
      () => shipper.backlog().oldestAgeMs / 1000,
    ),
    gauge('weir.events.shipping.failing', '', '1 while events cannot be shipped', () => (shipper.failing ? 1 : 0)),
    gauge('process.memory.usage', 'By', 'Memory of the process', () => process.memoryUsage.rss()),
  ];
}
