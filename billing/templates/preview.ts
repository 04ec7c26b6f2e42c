import { parseExactObject } from '#billing/event-formats/exact-json.ts';
import type { FaultIssue } from '#core/fault.ts';
import { hasPlace, Mapping, placesOf } from './mapping.ts';
import { readerOf, type Template } from './template.ts';

export const PREVIEW_ROWS_MAX = 100;

export interface Preview {
  matched: number;
  /** Places that the mapping reads and no row has: a field that was renamed, or a mistake. */
  unused_places: string[];
  rows: { raw: unknown; event: Record<string, unknown> | null; errors: FaultIssue[] }[];
}

/** What rows would become. Writes nothing. */
export function preview(
  template: Pick<Template, 'id' | 'row_schema' | 'mapping'>,
  rows: readonly unknown[],
  nowMs: number,
): Preview {
  const read = readerOf(template);
  const previewed = rows.map((raw): Preview['rows'][number] => {
    const event = read(raw, nowMs);
    if (event.kind === 'parked') return { raw, event: null, errors: [...event.issues] };
    return { raw, event: parseExactObject(event.body), errors: [] };
  });
  return {
    matched: previewed.filter(({ event }) => event !== null).length,
    unused_places: placesOf(Mapping.parse(template.mapping)).filter(
      (place) => !rows.some((row) => hasPlace(row, place)),
    ),
    rows: previewed,
  };
}
