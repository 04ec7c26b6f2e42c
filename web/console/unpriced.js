import { get } from './api.js';
import { element, table } from './dom.js';
import { formatDecimal, words } from './format.js';
import { panel } from './panel.js';

/**
 * @typedef {{ provider: string | null, upstream: string | null, model: string, service_tier: string | null,
 *   units: string[], events: string }} Unpriced
 */

/**
 * What was used since yesterday without a known provider price, by whatever customer. Not there when there is nothing.
 *
 * @param {AbortSignal} signal
 */
export function unpricedPanel(signal) {
  const { section, show, fail } = panel('unpriced', 'Without a known price, all customers');
  section.hidden = true;
  get('/v1/costs/unpriced').then(
    (/** @type {{ data: Unpriced[] }} */ { data }) => {
      if (signal.aborted || data.length === 0) return;
      section.hidden = false;
      show(draw(data), element('p', { class: 'quiet' }, 'Give them prices in the configuration, then cost them anew.'));
    },
    (error) => {
      section.hidden = signal.aborted;
      fail(error);
    },
  );
  return section;
}

/** @param {Unpriced[]} rows */
function draw(rows) {
  const columns = [{ title: 'Model' }, { title: 'Upstream' }, { title: 'Units' }, { title: 'Calls', isNumber: true }];
  return table(
    'Since yesterday',
    columns,
    rows.map(({ model, upstream, service_tier: tier, units, events }) => [
      tier === null || tier === 'default' ? model : `${model} (${tier})`,
      upstream ?? '',
      units.map(words).join(', '),
      formatDecimal(events),
    ]),
    'Nothing.',
  );
}
