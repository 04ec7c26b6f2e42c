/**
 * Making elements. Whatever the API says becomes a text node or an attribute, never markup.
 *
 * @typedef {string | number | boolean | EventListener | undefined} Attribute
 * @typedef {Node | string | undefined} Child
 */

/**
 * An element with attributes (`onclick` and the like are listeners; false and undefined leave one out) and children.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, Attribute>} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, '');
    else if (value !== false && value !== undefined) made.setAttribute(name, String(value));
  }
  made.append(...children.flat().filter((child) => child !== undefined));
  return made;
}

/**
 * The element of the page with this id.
 *
 * @template {HTMLElement} Type
 * @param {string} id
 * @param {new () => Type} type
 * @returns {Type}
 */
export function byId(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new TypeError(`the page has no ${type.name} #${id}`);
  return found;
}

/**
 * A table with a caption that says what it is, and a line instead of rows when there are none.
 *
 * @param {string} caption
 * @param {readonly { title: string, isNumber?: boolean }[]} columns
 * @param {readonly Child[][]} rows
 * @param {string} whenEmpty
 */
export function table(caption, columns, rows, whenEmpty) {
  const kind = (/** @type {number} */ index) => (columns[index]?.isNumber ? 'number' : undefined);
  return element(
    'div',
    { class: 'scroll' },
    element(
      'table',
      {},
      element('caption', {}, caption),
      element(
        'thead',
        {},
        element(
          'tr',
          {},
          columns.map(({ title }, index) => element('th', { scope: 'col', class: kind(index) }, title)),
        ),
      ),
      element(
        'tbody',
        {},
        rows.length === 0
          ? element('tr', {}, element('td', { colspan: columns.length, class: 'quiet' }, whenEmpty))
          : rows.map((cells) =>
              element(
                'tr',
                {},
                cells.map((cell, index) => element('td', { class: kind(index) }, cell)),
              ),
            ),
      ),
    ),
  );
}
