/**
 * How figures look. Decimal text goes in and comes out with the same digits: grouping is added to the text, and no
 * JavaScript number is ever made of it.
 */

/**
 * `1234567.50` as `1,234,567.50`.
 *
 * @param {string} decimal
 */
export function formatDecimal(decimal) {
  const [, sign = '', whole = '', fraction = ''] = /^(-?)(\d+)(\.\d+)?$/.exec(decimal) ?? [];
  if (whole === '') return decimal;
  return sign + whole.replace(/\B(?=(\d{3})+$)/g, ',') + fraction;
}

/** @param {{ amount: string, currency: string }} money */
export function formatMoney(money) {
  return `${formatDecimal(money.amount)} ${money.currency}`;
}

/**
 * An instant in a time zone, to the minute.
 *
 * @param {string} instant
 * @param {string} timeZone
 */
export function formatTime(instant, timeZone) {
  return new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short', timeZone }).format(
    new Date(instant),
  );
}

/**
 * `cache_read_tokens` as `cache read tokens`.
 *
 * @param {string} name
 */
export function words(name) {
  return name.replaceAll('_', ' ');
}
