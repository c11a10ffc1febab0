import type { Locator, Page } from 'playwright-core';

/** How long a fleet may take for one step of a microVM's life, ms. */
const STEP_MS = 60_000;

/** Signs in on the page at `baseUrl`; returns when the fleet is there and live. */
export async function signIn(page: Page, baseUrl: string, token: string): Promise<void> {
  await page.goto(baseUrl);
  await page.getByLabel('Operator token').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.locator('[data-connection="live"]').waitFor({ timeout: STEP_MS });
}

/** Row of a microVM in the table, by its name. */
export function rowOf(page: Page, name: string): Locator {
  return page.locator('table.windowed tbody tr').filter({ has: page.getByRole('link', { name, exact: true }) });
}

export async function rowInState(page: Page, name: string, state: string): Promise<void> {
  await rowOf(page, name)
    .and(page.locator(`[data-state="${state}"]`))
    .waitFor({ timeout: STEP_MS });
}

async function shown(locator: Locator): Promise<void> {
  await locator.first().waitFor({ timeout: STEP_MS });
}

/**
 * What an operator does with the console, from signing in to the end of one microVM, against any fleet that has a host and
 * the image `canary`: the same flow runs on a scripted gateway and on the real one. Throws when the page does not show what
 * it should. Leaves nothing behind but the history of the microVM; returns its id.
 */
export async function consoleFlow(page: Page, baseUrl: string, token: string): Promise<{ id: string; name: string }> {
  const name = `console-${Date.now().toString(36)}`;

  // A wrong token is refused with words, and the right one is taken afterwards.
  await page.goto(baseUrl);
  await page.getByLabel('Operator token').fill(`${token}-wrong`);
  await page.keyboard.press('Enter');
  await shown(page.getByRole('alert').filter({ hasText: '401' }));
  await signIn(page, baseUrl, token);

  // The fleet: its hosts with their density.
  const host = page.locator('tr[data-host]').first();
  await shown(host.locator('.state').filter({ hasText: 'ready' }));
  await shown(host.getByRole('img', { name: /slots used/ }));
  await shown(page.locator('[data-tile="headroom"]'));

  // Bad input is answered beside the field and makes nothing.
  await page.keyboard.press('n');
  const form = page.getByRole('dialog', { name: 'New microVM' });
  await form.getByLabel('Name').fill(name);
  await form.getByLabel('Memory, MiB').fill('999999999');
  await form.getByRole('button', { name: 'Create' }).click();
  await shown(form.locator('.field', { hasText: 'Memory' }).locator('.field-error').filter({ hasText: /\S/ }));

  // Create; its states arrive by themselves.
  await form.getByLabel('Memory, MiB').fill('32');
  await form.getByLabel('Labels').fill('from=console');
  await form.getByRole('button', { name: 'Create' }).click();
  await form.waitFor({ state: 'detached', timeout: STEP_MS });
  await page.getByLabel('Search microVMs').fill(name);
  await rowInState(page, name, 'running');

  // One microVM.
  await rowOf(page, name).getByRole('link', { name }).click();
  await shown(page.getByRole('heading', { level: 1, name }));
  const id = (await page.locator('main').getAttribute('data-microvm')) ?? '';
  const head = page.locator('.one-head');
  const actions = page.getByRole('toolbar', { name: 'Actions' });
  const nowIn = (state: string): Promise<void> => shown(head.locator('.state').filter({ hasText: state }));
  const step = (state: string): Locator => page.locator(`.history tr[data-to="${state}"]`);
  await nowIn('running');
  await shown(page.locator('.facts').getByText('from=console'));
  await shown(step('running'));
  await shown(page.locator('.waterfall tfoot strong').filter({ hasText: /\d m?s/ }));
  await shown(page.locator('.receipts tr.current').filter({ hasText: 'chosen' }));
  await shown(page.getByRole('log').filter({ hasText: /canary/i }));

  // Commands, those that lose something after a question.
  await actions.getByRole('button', { name: 'Pause' }).click();
  await nowIn('paused');
  await actions.getByRole('button', { name: 'Resume' }).click();
  await nowIn('running');
  await actions.getByRole('button', { name: 'Stop' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  await actions.getByRole('button', { name: 'Stop' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Stop' }).click();
  await nowIn('stopped');
  await shown(step('stopped'));

  // Back in time to when it was paused, by its history, and to now again.
  await step('paused').getByRole('button').first().click();
  await shown(page.getByRole('status').filter({ hasText: 'As it was at' }));
  await shown(page.locator('.facts .state').filter({ hasText: 'paused' }));
  await page.getByRole('button', { name: 'Back to now' }).click();
  await shown(page.locator('.facts .state').filter({ hasText: 'stopped' }));

  await actions.getByRole('button', { name: 'Start' }).click();
  await nowIn('running');
  await actions.getByRole('button', { name: 'Kill' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Kill' }).click();
  await nowIn('stopped');

  // A deep link survives a reload; then the end, from the list.
  await page.reload();
  await nowIn('stopped');
  await page.getByRole('link', { name: 'Back to the fleet' }).click();
  await page.getByLabel('Search microVMs').fill(name);
  await rowOf(page, name).getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await rowOf(page, name).waitFor({ state: 'detached', timeout: STEP_MS });
  await page.locator('.chip', { hasText: 'deleted' }).click();
  await rowInState(page, name, 'deleted');

  // Its history stays.
  await page.goto(`${baseUrl.replace(/\/$/, '')}/#/microvms/${id}`);
  await nowIn('deleted');
  await shown(step('deleted'));
  return { id, name };
}
