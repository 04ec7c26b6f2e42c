import { element } from './dom.js';

/**
 * A titled part of the page: what it shows, and a line that says what is wrong when something is.
 *
 * @param {string} id
 * @param {string} title
 */
export function panel(id, title) {
  const content = element('div');
  const problem = element('p', { class: 'problem', role: 'status' });
  const section = element(
    'section',
    { id, class: 'card', 'aria-labelledby': `${id}-title` },
    element('h3', { id: `${id}-title` }, title),
    content,
    problem,
  );
  return {
    section,
    /** @param {...Node} nodes */
    show: (...nodes) => {
      problem.textContent = '';
      content.replaceChildren(...nodes);
    },
    /** @param {unknown} error */
    fail: (error) => {
      problem.textContent = error instanceof Error ? error.message : String(error);
    },
  };
}
