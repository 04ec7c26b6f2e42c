import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type BillingServer, serveBilling } from '#billing/http/server.ts';
import { launchChromium } from '#test/servers/chromium.ts';
import { ADMIN_TOKEN, type TestApi, testApi } from '#test/support/billing-api.ts';
import { type BillingWorld, billingWorld } from '#test/support/billing-world.ts';
import { usageEvent } from '#test/support/usage-events.ts';

/** apt-get may have to bring the browser first. */
const START_TIMEOUT_MS = 400_000;
/** Below the test's own, so that a failure says which step it was. */
const PAGE_TIMEOUT_MS = 10_000;

describe('the console in a real browser', () => {
  let api: TestApi;
  let server: BillingServer;
  let browser: Browser;
  let page: Page;
  let world: BillingWorld;
  /** What the browser complained about: errors of the page, and what the Content-Security-Policy stopped. */
  const complaints: string[] = [];

  beforeAll(async () => {
    api = await testApi('postgres');
    world = billingWorld(api.test.db, api.clock.nowMs);
    server = await serveBilling(api.app, { host: '127.0.0.1', port: 0 });
    browser = await launchChromium();
    await api.call('POST', '/v1/customers', { body: { id: 'acme', name: 'Acme Inc', timezone: 'Europe/Paris' } });
    await api.call('POST', '/v1/customers', { body: { id: 'zeta', name: '<b>Zeta</b> & Sons' } });
  }, START_TIMEOUT_MS);
  afterAll(async () => {
    await browser.close();
    await server.close(1_000);
    await api.close();
  });
  beforeEach(async () => {
    complaints.length = 0;
    const context = await browser.newContext();
    page = await context.newPage();
    page.setDefaultTimeout(PAGE_TIMEOUT_MS);
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text());
    });
    return () => context.close();
  });

  const usage = () => page.getByRole('table', { name: /Europe\/Paris/ });

  it('asks for a token, says when it is wrong, and keeps it for the tab', async () => {
    await page.goto(server.url);
    await page.getByLabel('Token').fill('wr_api_wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('No valid token was given.').waitFor();
    await page.getByLabel('Token').fill(api.tokens.viewer);
    await page.keyboard.press('Enter');
    await page.getByRole('link', { name: 'Acme Inc' }).waitFor();
    await page.reload();
    await page.getByRole('heading', { name: 'Acme Inc' }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Token').waitFor();
    expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
    expect(complaints.filter((line) => !line.includes('401'))).toEqual([]);
  });

  it('signs in by a link whose token leaves the address at once', async () => {
    await page.goto(`${server.url}/#token=${ADMIN_TOKEN}&customer=acme`);
    await page.getByRole('heading', { name: 'Acme Inc' }).waitFor();
    expect(page.url()).toBe(`${server.url}/#customer=acme`);
    expect(complaints).toEqual([]);
  });

  it('says what was used without a known price', async () => {
    await page.goto(`${server.url}/#token=${api.tokens.viewer}&customer=zeta`);
    await page.getByRole('heading', { name: 'Zeta' }).waitFor();
    expect(await page.getByRole('heading', { name: 'Without a known price' }).isVisible()).toBe(false);
    const data = { model_served: null, unpriced: ['output_tokens'] };
    const event = usageEvent({ customer: 'zeta', model: 'gpt-99', cost: null, data });
    await api.call('POST', '/v1/events', { body: event });
    await page.reload();
    await page.getByRole('row', { name: /^gpt-99 openai Output tokens 1$/i }).waitFor();
    expect(complaints).toEqual([]);
  });

  it('shows usage as it happens', async () => {
    await page.goto(`${server.url}/#token=${api.tokens.finance}&customer=acme`);
    await page.getByText('Nothing yet.').waitFor();
    await world.use('acme', api.clock.nowMs, { calls: '1', input_tokens: '1234567', output_tokens: '250' });
    await usage().getByText('1,234,567').first().waitFor({ timeout: 5_000 });
    await world.use('acme', api.clock.nowMs, { calls: '1', input_tokens: '3', output_tokens: '250' });
    await world.use('acme', api.clock.nowMs, { calls: '1', cache_read_tokens: '7' }, 'gpt-4o-mini');
    await usage()
      .getByRole('row', { name: /^gpt-4o 2 1,234,570 0 500 / })
      .waitFor();
    await usage()
      .getByRole('row', { name: /^gpt-4o-mini 1 0 7 0 / })
      .waitFor();
    await usage()
      .getByRole('row', { name: /^All models 3 1,234,570 7 500 0\.0012204 USD/ })
      .waitFor();
    expect(complaints).toEqual([]);
  });

  it('shows what the period comes to so far, and opens a line to its steps, which stays open', async () => {
    const { id } = await world.customer();
    await page.goto(`${server.url}/#token=${api.tokens.finance}&customer=${id}`);
    await page.locator('#preview-total').getByText('20.00 USD').waitFor();
    await world.use(id, api.clock.nowMs, { calls: '1', input_tokens: '1000000', output_tokens: '4' });
    await page.locator('#preview-total').getByText('22.50 USD').waitFor();
    const line = page.getByText('input tokens, all models');
    await line.click();
    await page.getByRole('cell', { name: '1000000 x 2.5 / 1000000' }).waitFor();
    await world.use(id, api.clock.nowMs, { calls: '1', input_tokens: '1000000', images: '2' });
    await page.locator('#preview-total').getByText('25.00 USD').waitFor();
    await page.getByRole('cell', { name: '2000000 x 2.5 / 1000000' }).waitFor();
    await page.getByText('Not billed, no charge of the plan covers it: 2 images of gpt-4o.').waitFor();
    const focused = await page.evaluate(() => document.activeElement?.textContent);
    expect(focused).toBe('input tokens, all models');
    expect(complaints).toEqual([]);
  });

  it('walks an invoice line back to its price, its figure computed anew, and its events', async () => {
    const { id } = await world.customer();
    const event = await world.use(id, api.clock.nowMs, { calls: '1', output_tokens: '123456' });
    const before = api.clock.nowMs;
    world.clock.nowMs = before + 40 * 86_400_000;
    await world.close();
    world.clock.nowMs = before;
    await page.goto(`${server.url}/#token=${api.tokens.viewer}&customer=${id}`);
    await page.getByText(/INV-\d+ · open · .* · 21\.23 USD/).click();
    const invoice = page.getByRole('table', { name: /Lines of INV/ });
    await invoice.getByRole('row', { name: /123,456 1\.23456 1\.23 USD/ }).waitFor();
    await invoice.getByText('output tokens, all models').click();
    await page.getByText('Computed anew from the usage below it: 123,456 for 1.23456, the same.').waitFor();
    await page.getByText('Events', { exact: true }).click();
    await page.getByRole('cell', { name: event }).waitFor();
    expect(complaints).toEqual([]);
  });

  it('goes from customer to customer by the keyboard, and back', async () => {
    await page.goto(`${server.url}/#token=${api.tokens.viewer}&customer=acme`);
    await page.getByRole('heading', { name: 'Acme Inc' }).waitFor();
    await page.getByRole('link', { name: 'Zeta' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Zeta' }).waitFor();
    expect(await page.getByRole('link', { name: 'Zeta' }).getAttribute('aria-current')).toBe('page');
    await page.waitForFunction(() => document.activeElement?.id === 'customer');
    await page.goBack();
    await page.getByRole('heading', { name: 'Acme Inc' }).waitFor();
    await page.goto(`${server.url}/#customer=nobody`);
    await page.getByText('There is no customer nobody.').waitFor();
    expect(complaints.filter((line) => !line.includes('404'))).toEqual([]);
  });

  it('makes a key and shows its secret once', async () => {
    await page.goto(`${server.url}/#token=${api.tokens.ops}&customer=acme`);
    await page.getByText('No keys yet.').waitFor();
    await page.getByLabel('Name').fill('Search');
    await page.getByLabel('Models, with commas').fill('gpt-*, o4-mini');
    await page.getByRole('button', { name: 'Create key' }).click();
    const secret = (await page.locator('#new-secret').textContent()) ?? '';
    expect(secret).toMatch(/^wr_live_[0-9A-Za-z]{36}$/);
    await page.getByRole('cell', { name: 'gpt-*, o4-mini' }).waitFor();
    await page.reload();
    await page.getByRole('cell', { name: secret.slice(-4), exact: true }).waitFor();
    expect(await page.content()).not.toContain(secret);
    expect(complaints).toEqual([]);
  });

  it('says what a viewer may not do, and shows names as text', async () => {
    await page.goto(`${server.url}/#token=${api.tokens.viewer}&customer=zeta`);
    await page.getByRole('heading', { name: '<b>Zeta</b> & Sons' }).waitFor();
    await page.getByLabel('Name').fill('Not mine');
    await page.getByRole('button', { name: 'Create key' }).click();
    await page.getByText('This token may not do that.').waitFor();
    expect(complaints.filter((line) => !line.includes('403'))).toEqual([]);
  });

  it('shows the API, every route of it, without asking anybody else', async () => {
    const asked = new Set<string>();
    page.on('request', (request) => asked.add(new URL(request.url()).origin));
    await page.goto(`${server.url}/docs`);
    const path = page.getByText('/v1/keys/{id}/rotate', { exact: true });
    await path.click();
    await page.getByText('grace_seconds').waitFor();
    expect(await page.locator('details.route').count()).toBe(api.app.routes.length);
    expect([...asked]).toEqual([server.url]);
    expect(complaints).toEqual([]);
  });

  it('is usable in the dark, on a narrow screen, and by its names alone', async () => {
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.setViewportSize({ width: 360, height: 700 });
    await page.goto(`${server.url}/#token=${api.tokens.viewer}&customer=acme`);
    await page.getByRole('region', { name: 'Keys' }).waitFor();
    const [background, width] = await page.evaluate(() => [
      getComputedStyle(document.documentElement).backgroundColor,
      document.documentElement.scrollWidth,
    ]);
    expect(background).toBe('rgb(20, 24, 27)');
    expect(width).toBeLessThanOrEqual(360);
    for (const box of await page.getByRole('textbox').all()) {
      expect(await box.evaluate((input) => (input instanceof HTMLInputElement ? input.labels?.length : 0))).toBe(1);
    }
  });
});
