import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FAULTS } from '#core/fault.ts';
import { hits, isTest, listFiles, packageOf, ROOT, read, readSources, type Source } from './house/sources.ts';

/**
 * The rules of the house. A rule is stated here once, with its exceptions and their reasons; each failure lists the
 * lines that break it.
 */
const sources = readSources();
const code = sources.filter(({ path }) => !isTest(path));
const tests = sources.filter(({ path }) => isTest(path));
const manifest: { dependencies: object; devDependencies: object; scripts: object } = JSON.parse(read('package.json'));
const SERVED = new Set(['core', 'config', 'proxy', 'billing', 'src']);

describe('the arrows', () => {
  /** What each part may import from the others; unit tests may use the helpers in test/ besides. */
  const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
    core: [],
    config: ['core'],
    proxy: ['config', 'core'],
    billing: ['config', 'core'],
    src: ['proxy', 'billing', 'config', 'core'],
    web: [],
    test: ['src', 'proxy', 'billing', 'config', 'core', 'bench'],
    bench: ['src', 'proxy', 'billing', 'config', 'core', 'test'],
    '': [],
  };

  it('go down only: src to proxy and billing, these to config, config to core', () => {
    const wrong = sources.flatMap(({ path, area, imports }) =>
      imports.flatMap(({ name, path: target, byAddress }) => {
        const to = target?.split('/')[0];
        if (byAddress || !target?.includes('/') || to === undefined || to === area) return [];
        const allowed = MAY_IMPORT[area]?.includes(to) || (to === 'test' && isTest(path));
        return allowed ? [] : [`${path} imports ${name}`];
      }),
    );
    expect(wrong).toEqual([]);
  });

  it('never lead from a folder of billing into the SQL of another', () => {
    const wrong = code.flatMap(({ path, imports }) =>
      imports.flatMap(({ path: target }) => {
        if (!target?.startsWith('billing/') || !target.endsWith('store.ts')) return [];
        return folderOf(target) === folderOf(path) ? [] : [`${path} imports ${target}`];
      }),
    );
    expect(wrong).toEqual([]);
  });

  it('lead to files that exist', () => {
    const wrong = sources.flatMap(({ path, imports }) =>
      imports
        .filter(({ path: to }) => to !== undefined && !existsSync(join(ROOT, to)))
        .map(({ name }) => `${path}: ${name}`),
    );
    expect(wrong).toEqual([]);
  });
});

describe('what a role loads', () => {
  /** Files and packages that a file needs at once: neither types nor what it imports when it comes to that. */
  function loadedBy(entries: readonly string[]): { files: Set<string>; packages: Set<string> } {
    const AT_ONCE = /^\s*(?:import|export)\s+(?!type\b)(?:[^'";]*?\bfrom\s*)?['"]([^'"]+)['"]/gm;
    const files = new Set(entries);
    const packages = new Set<string>();
    for (const file of files) {
      const source = sources.find(({ path }) => path === file);
      const names = new Set([...(source?.code ?? '').matchAll(AT_ONCE)].map((match) => match[1]));
      for (const one of source?.imports.filter(({ name }) => names.has(name)) ?? []) {
        if (one.path !== undefined) files.add(one.path);
        const name = packageOf(one);
        if (name !== undefined) packages.add(name);
      }
    }
    return { files, packages };
  }

  it('is in the gateway nothing of billing, which is 40 MB, but how a token is made', () => {
    const { files } = loadedBy(['src/cli.ts', 'src/node.ts', 'src/gateway-role.ts']);
    expect(files).toContain('proxy/gateway.ts');
    const folders = [...files].filter((path) => path.startsWith('billing/')).map((path) => path.split('/')[1]);
    expect(new Set(folders)).toEqual(new Set(['tokens', 'db']));
  });

  it('is no package in the thread that ships events: it has all it loads for itself', () => {
    const { files, packages } = loadedBy(['proxy/sink/journal/http-shipping-thread.ts']);
    expect(files.size).toBeGreaterThan(3);
    expect([...packages]).toEqual([]);
  });
});

describe('the parts that run anywhere', () => {
  /** The request path's adapters to one runtime say so in their name, or in that of their folder. */
  const RUNTIME = /(^|[/.-])(node|undici|redis|journal|file|cloudflare|worker|durable-object|queue)([/.-]|$)/;
  const NODE_ONLY = /\b(Buffer|process|__dirname|__filename|setImmediate|require)\b(?=[.([])/;
  const anywhere = code.filter(({ path, area }) => area === 'core' || (area === 'proxy' && !RUNTIME.test(path)));

  it('import nothing of Node in core and in the shared part of proxy', () => {
    const wrong = anywhere.flatMap(({ path, imports }) =>
      imports
        .filter(({ name }) => name.startsWith('node:') || name.startsWith('cloudflare:'))
        .map(({ name }) => `${path}: ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  it("use none of Node's globals there", () => {
    expect(anywhere.flatMap((source) => hits(source, NODE_ONLY))).toEqual([]);
  });

  it('lean on no npm package in core but a Temporal polyfill', () => {
    const packages = code.filter(({ area }) => area === 'core').flatMap(({ imports }) => imports.map(packageOf));
    expect(new Set(packages.filter((name) => name !== undefined && name !== 'temporal-polyfill'))).toEqual(new Set());
  });
});

describe('money', () => {
  const FLOATS = /\b(parseFloat|toFixed|toPrecision|Number)\(|\bMath\.(round|floor|ceil)\(|\bNumber\.parseFloat\b/;
  /** The places in proxy that handle amounts and quantities. */
  const NEAR_MONEY = /^proxy\/(limits\/|(cost|ending|event|admission)\.ts$)/;
  /** Where a binary number is right: the line, and why it is neither money nor quantity. */
  const ALLOWED: readonly { path: string; code: string; why: string }[] = [
    { path: 'billing/http/request.ts', code: "Number(request.headers.get('content-length')", why: 'bytes of a body' },
    { path: 'proxy/limits/decide.ts', code: 'Math.floor(clockMs)', why: 'time' },
    { path: 'proxy/limits/counter.ts', code: 'const waitMs = ', why: 'time' },
    { path: 'proxy/limits/refusal.ts', code: 'return atMs + Number(', why: 'time' },
    { path: 'proxy/limits/memory.ts', code: 'Math.floor(clockMs)', why: 'time' },
    { path: 'proxy/limits/redis.ts', code: 'Math.floor(clock())', why: 'time' },
  ];

  it('never passes through a binary float in core, billing, the limits and the cost of a call', () => {
    const watched = code.filter(({ path, area }) => ['core', 'billing'].includes(area) || NEAR_MONEY.test(path));
    const found = watched.flatMap((source) => hits(source, FLOATS));
    const allows = (allowed: { path: string; code: string }, hit: string) =>
      hit.startsWith(`${allowed.path}:`) && hit.includes(allowed.code);
    expect(found.filter((hit) => !ALLOWED.some((allowed) => allows(allowed, hit)))).toEqual([]);
    const stale = ALLOWED.filter((allowed) => !found.some((hit) => allows(allowed, hit)));
    expect(stale, 'exceptions that nothing needs any more').toEqual([]);
  });
});

describe('SQL', () => {
  it('stands in store.ts beside its owner, and in billing/db', () => {
    const served = code.filter(({ area }) => area !== 'bench');
    const elsewhere = served.filter(({ path }) => !path.endsWith('/store.ts') && !path.startsWith('billing/db/'));
    expect(elsewhere.flatMap((source) => hits(source, /\bsql(<[^`]*>)?`/))).toEqual([]);
  });
});

describe('tests', () => {
  /** Public data sets that a clone need not have; everything else runs always. */
  const PUBLIC_DATA = /\bshared\/data\b/;
  /** The pause between two looks, with a bound; and programs that play a call which takes a while. */
  const MAY_PAUSE = new Set(['test/servers/server.ts', 'test/scenarios/until.ts', 'test/scenarios/calls.child.ts']);
  const SLEEP = /await\s+(new Promise\b[^;]*?\bsetTimeout\(\w+,|sleep\(|delay\(|setTimeout\(|scheduler\.wait\()/s;

  it('wait for the thing itself, never for time', () => {
    const sleeping = tests.filter(({ path, code: text }) => SLEEP.test(text) && !MAY_PAUSE.has(path));
    expect(sleeping.map(({ path }) => path)).toEqual([]);
  });

  it('all run', () => {
    const narrowed = tests.flatMap((source) => hits(source, /\b(it|test|describe)(\.\w+)*\.(only|skip|todo|fails)\b/));
    expect(narrowed).toEqual([]);
    const conditional = tests.filter(({ code: text }) => /\.(skipIf|runIf)\(/.test(text) && !PUBLIC_DATA.test(text));
    expect(conditional.map(({ path }) => path)).toEqual([]);
  });
});

describe('types', () => {
  it('are not talked away', () => {
    const pattern = /\bas unknown as\b|\bas any\b|@ts-(ignore|expect-error|nocheck)/;
    expect(
      sources.filter(({ path }) => !path.startsWith('test/house')).flatMap((source) => hits(source, pattern)),
    ).toEqual([]);
  });

  it('leave the module by name: no barrels, and defaults only where a tool wants one', () => {
    const wanted = new Set([
      'vitest.config.ts',
      'test/servers/global-setup.ts',
      'test/support/counters-worker.ts',
      'src/worker.ts',
    ]);
    const defaults = sources
      .filter(({ path }) => !wanted.has(path))
      .flatMap((source) => hits(source, /^export default\b/));
    expect(defaults).toEqual([]);
    expect(sources.flatMap((source) => hits(source, /^export \* from\b/))).toEqual([]);
  });
});

describe('what nobody uses', () => {
  /** Where running begins: the commands of package.json, the Worker that wrangler.toml names, what tools start by name. */
  const commands = Object.values(manifest.scripts).flatMap((script) => String(script).match(/\b[\w/-]+\.ts\b/g) ?? []);
  const worker = existsSync(join(ROOT, 'wrangler.toml')) ? (read('wrangler.toml').match(/[\w/-]+\.ts\b/g) ?? []) : [];
  const mains = [...commands, ...worker, 'vitest.config.ts', 'test/servers/global-setup.ts'];

  it('is no file that serves: each is reached from a main', () => {
    const reached = reach(mains);
    const serving = code.filter(({ path, area }) => SERVED.has(area) && /(?<!\.d)\.ts$/.test(path));
    expect(serving.map(({ path }) => path).filter((path) => !reached.has(path))).toEqual([]);
  });

  it('is no other file: each is reached from a main or a test, or is a benchmark that is named', () => {
    const papers = [read('docs/benchmarks.md'), read('bench/README.md')];
    const benches = sources.filter(({ area }) => area === 'bench');
    const named = (path: string) =>
      path.startsWith('bench/') &&
      [...papers, ...benches.filter((bench) => bench.path !== path).map(({ text }) => text)].some((text) =>
        text.includes(path.slice('bench/'.length)),
      );
    const reached = reach([...mains, ...tests.filter(({ path }) => path.endsWith('.test.ts')).map(({ path }) => path)]);
    const others = sources.filter(({ path, area }) => !SERVED.has(area) && area !== 'web' && path.endsWith('.ts'));
    expect(others.map(({ path }) => path).filter((path) => !reached.has(path) && !named(path))).toEqual([]);
  });

  it('is no export', () => {
    const named = new Map<string, number>();
    for (const { code: text } of sources) {
      for (const [word] of text.matchAll(/\w+/g)) named.set(word, (named.get(word) ?? 0) + 1);
    }
    const unused = code.flatMap(({ path, code: text }) =>
      [...text.matchAll(/^export (?:async )?(?:const|let|function\*?|class|interface|type) (\w+)/gm)]
        .map((match) => match[1] ?? '')
        .filter((name) => (named.get(name) ?? 0) <= 1)
        .map((name) => `${path}: ${name}`),
    );
    expect(unused).toEqual([]);
  });

  it('is no fault code', () => {
    const catalogue = 'core/fault.ts';
    const text = code
      .filter(({ path }) => path !== catalogue)
      .map((source) => source.code)
      .join('\n');
    expect(Object.keys(FAULTS).filter((fault) => !text.includes(`'${fault}'`))).toEqual([]);
  });

  it('is no package, and what serves needs no package of development', () => {
    /** Run by name, or nothing but types: nothing of them is loaded by what serves. */
    const tools = new Set([
      '@biomejs/biome',
      'typescript',
      'node',
      'wrangler',
      '@types/node',
      '@types/pg',
      '@types/ws',
      '@cloudflare/workers-types',
      '@modelcontextprotocol/conformance',
    ]);
    const imported = new Set(sources.flatMap(({ imports }) => imports.map(packageOf)));
    const dependencies = Object.keys(manifest.dependencies);
    const listed = [...dependencies, ...Object.keys(manifest.devDependencies)];
    expect(listed.filter((name) => !imported.has(name) && !tools.has(name))).toEqual([]);
    const wrong = code.flatMap(({ path, area, imports }) =>
      imports.flatMap((each) => {
        const name = packageOf(each);
        return !SERVED.has(area) || name === undefined || dependencies.includes(name) || tools.has(name)
          ? []
          : [`${path}: ${name}`];
      }),
    );
    expect(wrong).toEqual([]);
  });
});

describe('the lock file', () => {
  it('names the packages of every platform, without which npm ci refuses to run anywhere', () => {
    const { packages }: { packages: Record<string, { optionalDependencies?: object }> } = JSON.parse(
      read('package-lock.json'),
    );
    const names = new Set(Object.keys(packages).map((path) => path.slice(path.lastIndexOf('node_modules/') + 13)));
    const optional = Object.values(packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}));
    expect(optional.filter((name) => !names.has(name))).toEqual([]);
  });

  it('names no registry of a machine', () => {
    const addresses = read('package-lock.json').match(/"resolved": "[^"]*"/g) ?? [];
    expect(addresses.filter((line) => !line.includes('"https://registry.npmjs.org/'))).toEqual([]);
  });
});

describe('the papers', () => {
  it('give every fault code a section in docs/errors.md, and no section without a code', () => {
    const sections = [...read('docs/errors.md').matchAll(/^### (.*)$/gm)].map((match) => match[1]);
    const wanted = Object.entries(FAULTS).map(([code, { status }]) => `\`${code}\` (${status})`);
    expect(sections.sort()).toEqual(wanted.sort());
  });

  it('give each top folder a README of at most 40 lines', () => {
    const folders = new Set(
      listFiles().flatMap((path) => (path.includes('/') ? [path.slice(0, path.indexOf('/'))] : [])),
    );
    for (const folder of folders) {
      expect(existsSync(join(ROOT, folder, 'README.md')), `${folder}/README.md`).toBe(true);
      expect(read(`${folder}/README.md`).trimEnd().split('\n').length, `${folder}/README.md`).toBeLessThanOrEqual(40);
    }
  });

  it('number the decisions without gaps, one screen each', () => {
    const names = listFiles('docs/decisions').sort();
    names.forEach((path, i) => {
      expect(path).toMatch(new RegExp(`^docs/decisions/${String(i + 1).padStart(4, '0')}-[a-z0-9-]+\\.md$`));
      expect(read(path).split('\n').length, path).toBeLessThanOrEqual(60);
    });
  });

  it('link only to files that exist', () => {
    const broken = listFiles()
      .filter((path) => path.endsWith('.md'))
      .flatMap((path) =>
        [...read(path).matchAll(/\]\((?!https?:|mailto:|#)([^)#\s]+)/g)]
          .map((match) => match[1] ?? '')
          .filter((target) => !existsSync(join(ROOT, path, '..', target)))
          .map((target) => `${path}: ${target}`),
      );
    expect(broken).toEqual([]);
  });
});

describe('form', () => {
  it('names files in kebab-case', () => {
    const names = sources.map(({ path }) => path).filter((path) => !/^[a-z0-9/.-]+$/.test(path));
    expect(names).toEqual([]);
  });

  it('keeps a file to one thought: at most 300 lines of code that serves', () => {
    const long = code.filter(({ area, text }) => area !== 'bench' && text.split('\n').length > 301);
    expect(long.map(({ path, text }) => `${path}: ${text.split('\n').length}`)).toEqual([]);
  });

  it('leaves nothing to do for later', () => {
    const marks = sources.filter(({ path }) => path !== 'test/house.test.ts');
    expect(marks.flatMap(({ path, text }) => (/\b(TODO|FIXME|HACK)\b/.test(text) ? [path] : []))).toEqual([]);
  });

  it('uses one word per concept', () => {
    /** Words of docs/vocabulary.md that have no other meaning here. */
    const other = /\b\w*(tenant|vendor|escrow|virtualKey|virtual_key|rateCard|creditMemo)\w*\b/i;
    const named = code.filter(({ area }) => ['core', 'proxy', 'billing', 'src'].includes(area));
    expect(named.flatMap((source) => hits(source, other))).toEqual([]);
  });

  it('logs through the log, not to the console', () => {
    const programs = new Set(['config/catalogue/convert.ts']);
    const serving = code.filter(
      ({ path, area }) => ['core', 'config', 'proxy', 'billing'].includes(area) && !programs.has(path),
    );
    expect(serving.flatMap((source) => hits(source, /\bconsole\./))).toEqual([]);
  });
});

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

function reach(roots: readonly string[]): Set<string> {
  const byPath = new Map<string, Source>(sources.map((source) => [source.path, source]));
  const reached = new Set<string>();
  const visit = (path: string) => {
    if (reached.has(path)) return;
    reached.add(path);
    for (const { path: to } of byPath.get(path)?.imports ?? []) if (to !== undefined) visit(to);
  };
  for (const root of roots) visit(root);
  return reached;
}
