import { element } from '../console/dom.js';

/**
 * The API as a page, drawn from its own document: one section per noun, one fold per route.
 *
 * @typedef {{ $ref?: string, type?: string | string[], format?: string, description?: string, enum?: unknown[],
 *   const?: unknown, pattern?: string, default?: unknown, example?: unknown, required?: string[], items?: Schema,
 *   properties?: Record<string, Schema>, additionalProperties?: boolean | Schema, anyOf?: Schema[], oneOf?: Schema[],
 *   allOf?: Schema[] }} Schema
 * @typedef {{ content?: Record<string, { schema: Schema }> }} Content
 * @typedef {{ tags: string[], summary: string, description?: string, 'x-weir-roles': string[],
 *   parameters?: { name: string, in: string, required?: boolean, description?: string, schema: Schema }[],
 *   requestBody?: Content, responses: Record<string, Content> }} Operation
 * @typedef {{ info: { version: string, description: string }, paths: Record<string, Record<string, Operation>>,
 *   components: { schemas: Record<string, Schema> } }} OpenApi
 */

/** Deeper than any schema of ours, so that one that refers to itself ends. */
const DEPTH_MAX = 8;

const place = document.getElementById('docs');
if (!place) throw new TypeError('the page has no #docs');
const response = await fetch('/openapi.json');
/** @type {OpenApi} */
const openapi = await response.json();
place.replaceChildren(...page());
if (location.hash !== '') document.getElementById(location.hash.slice(1))?.scrollIntoView();

function page() {
  /** @type {Map<string, HTMLElement[]>} */
  const nouns = new Map();
  for (const [path, operations] of Object.entries(openapi.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const noun = operation.tags[0] ?? '';
      nouns.set(noun, [...(nouns.get(noun) ?? []), route(method, path, operation)]);
    }
  }
  const names = [...nouns.keys()].sort();
  return [
    element('p', {}, `Version ${openapi.info.version}. `, element('a', { href: '/openapi.json' }, 'openapi.json')),
    ...openapi.info.description.split('\n').map((line) => element('p', {}, ...withCode(line))),
    element(
      'nav',
      { 'aria-label': 'Nouns' },
      element(
        'ul',
        { class: 'row' },
        names.map((name) => element('li', {}, element('a', { href: `#${name}` }, name))),
      ),
    ),
    ...names.map((name) =>
      element(
        'section',
        { id: name, 'aria-labelledby': `${name}-title` },
        element('h2', { id: `${name}-title` }, name),
        ...(nouns.get(name) ?? []),
      ),
    ),
  ];
}

/**
 * @param {string} method
 * @param {string} path
 * @param {Operation} operation
 */
function route(method, path, operation) {
  const parameters = operation.parameters ?? [];
  const [status, success] = Object.entries(operation.responses).find(([name]) => name !== 'default') ?? ['', {}];
  return element(
    'details',
    { class: 'route' },
    element(
      'summary',
      {},
      element('span', { class: 'method' }, method.toUpperCase()),
      element('code', {}, path),
      element('span', { class: 'quiet' }, operation.summary),
    ),
    operation.description === undefined ? undefined : element('p', {}, ...withCode(operation.description)),
    element('p', { class: 'quiet' }, `Roles: ${operation['x-weir-roles'].join(', ')}`),
    parameters.length === 0 ? undefined : element('h3', {}, 'Parameters'),
    parameters.length === 0
      ? undefined
      : element(
          'ul',
          { class: 'fields' },
          parameters.map((parameter) =>
            field(parameter.name, parameter.schema, parameter.required === true, 0, ` in ${parameter.in}`),
          ),
        ),
    ...shape('Body', operation.requestBody),
    ...shape(`Answer ${status}`, success),
  );
}

/**
 * @param {string} title
 * @param {Content | undefined} content
 */
function shape(title, content) {
  const schema = Object.values(content?.content ?? {})[0]?.schema;
  if (!schema) return [];
  return [element('h3', {}, title, ' ', element('code', {}, typeName(schema))), ...(inner(schema, 0) ?? [])];
}

/**
 * @param {string} name
 * @param {Schema} schema
 * @param {boolean} isRequired
 * @param {number} depth
 * @param {string} [where]
 * @returns {HTMLElement}
 */
function field(name, schema, isRequired, depth, where = '') {
  const whole = { ...resolve(schema), ...schema };
  const notes = [
    whole.default === undefined ? undefined : `Unless given: ${JSON.stringify(whole.default)}.`,
    whole.example === undefined ? undefined : `Such as ${JSON.stringify(whole.example)}.`,
  ].filter((note) => note !== undefined);
  return element(
    'li',
    {},
    element('code', {}, name),
    element('span', { class: 'quiet' }, ` ${typeName(schema)}${isRequired ? ', required' : ''}${where}.`),
    whole.description === undefined ? undefined : element('span', {}, ' ', ...withCode(whole.description)),
    notes.length === 0 ? undefined : element('span', { class: 'quiet' }, ` ${notes.join(' ')}`),
    ...(inner(schema, depth + 1) ?? []),
  );
}

/**
 * The fields below a schema, or nothing for a plain value.
 *
 * @param {Schema} schema
 * @param {number} depth
 * @returns {HTMLElement[] | undefined}
 */
function inner(schema, depth) {
  if (depth > DEPTH_MAX) return undefined;
  const whole = resolve(schema);
  if (whole.properties) {
    const required = whole.required ?? [];
    const fields = Object.entries(whole.properties).map(([name, one]) =>
      field(name, one, required.includes(name), depth),
    );
    return [element('ul', { class: 'fields' }, fields)];
  }
  if (whole.items) return inner(whole.items, depth);
  if (typeof whole.additionalProperties === 'object') return inner(whole.additionalProperties, depth);
  const choices = whole.oneOf ?? whole.anyOf ?? whole.allOf;
  const shown = choices?.map((choice) => ({ choice, below: inner(choice, depth + 1) })).filter(({ below }) => below);
  if (!shown || shown.length === 0) return undefined;
  return [
    element(
      'ul',
      { class: 'fields' },
      shown.map(({ choice, below }) =>
        element('li', {}, element('span', { class: 'quiet' }, `one of: ${typeName(choice)}`), ...(below ?? [])),
      ),
    ),
  ];
}

/**
 * @param {Schema} schema
 * @returns {string}
 */
function typeName(schema) {
  if (schema.$ref) return nameOf(schema.$ref);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(' | ');
  if (schema.items) return `${typeName(schema.items)}[]`;
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return choices.map(typeName).join(' | ');
  if (schema.allOf) return schema.allOf.map(typeName).join(' & ');
  if (typeof schema.additionalProperties === 'object') return `map of ${typeName(schema.additionalProperties)}`;
  const type = [schema.type ?? 'any'].flat().join(' | ');
  return schema.format ? `${type} (${schema.format})` : type;
}

/**
 * @param {Schema} schema
 * @returns {Schema}
 */
function resolve(schema) {
  return schema.$ref ? (openapi.components.schemas[nameOf(schema.$ref)] ?? {}) : schema;
}

/** @param {string} ref */
function nameOf(ref) {
  return ref.slice(ref.lastIndexOf('/') + 1);
}

/**
 * Text in which what stands between backticks is code.
 *
 * @param {string} text
 */
function withCode(text) {
  return text.split('`').map((part, index) => (index % 2 === 1 ? element('code', {}, part) : part));
}
