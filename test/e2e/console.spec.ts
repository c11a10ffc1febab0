import type { Page } from 'playwright-core';
import { buildConsole, describeWithChromium, startBrowser, type Browser } from '../support/console/browser';
import { consoleFlow, rowInState, rowOf, signIn } from '../support/console/console-flow';
import { ScriptedFleet } from '../support/console/scripted-fleet';
import { ScriptedGateway } from '../support/console/scripted-gateway';

const TOKEN = 'operator-token-of-the-test';

describeWithChromium('the console page', () => {
  let built: Awaited<ReturnType<typeof buildConsole>>;
  let browser: Browser;
  let fleet: ScriptedFleet;
  let gateway: ScriptedGateway;
  let url: string;
  let page: Page;
  const complaints: string[] = [];

  beforeAll(async () => {
    [built, browser] = await Promise.all([buildConsole(), startBrowser()]);
  }, 240_000);
  afterAll(async () => {
    await browser?.close();
    await built?.remove();
  });

  beforeEach(async () => {
    fleet = new ScriptedFleet();
    fleet.addHost('host-1');
    fleet.addHost('host-2', 'hardware');
    gateway = new ScriptedGateway(fleet, built.folder, TOKEN);
    url = await gateway.listen();
    page = await browser.context.newPage();
    complaints.length = 0;
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      // Refused requests are part of the tests; everything else, such as a breach of the content security policy, is not.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
        complaints.push(message.text());
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(url)) complaints.push(`asked elsewhere: ${request.url()}`);
    });
  });
  afterEach(async () => {
    await page.close();
    fleet.close();
    await gateway.close();
    expect(complaints).toEqual([]);
  });

  it('carries an operator through the life of a microVM', async () => {
    const { id } = await consoleFlow(page, url, TOKEN);
    expect(fleet.microvm(id).state).toBe('deleted');
  }, 120_000);

  it('loses no change when its stream breaks, and says that it is reconnecting meanwhile', async () => {
    const [first, second] = fleet.seed(2, (index) => ({ image: 'canary', name: `vm-${index}`, memoryMiB: 32 }));
    await signIn(page, url, TOKEN);
    await rowInState(page, 'vm-0', 'running');
    const lists = () => gateway.requests.filter((request) => request === 'GET /v1/microvms').length;
    const listed = lists();

    gateway.failWith = 503;
    gateway.dropStreams();
    await page.locator('[data-connection="waiting"]').waitFor();
    fleet.panic(first!);
    fleet.command(second!, 'pause');
    const third = fleet.create({ image: 'canary', name: 'vm-2', memoryMiB: 32 });
    gateway.failWith = null;
    await page.locator('[data-connection="live"]').waitFor();

    await rowInState(page, 'vm-0', 'failed');
    await rowInState(page, 'vm-1', 'paused');
    await rowInState(page, 'vm-2', 'running');
    expect(fleet.microvm(third.id).state).toBe('running');
    expect(gateway.resumedAfter.length).toBeGreaterThan(1);
    expect(gateway.resumedAfter[0]).toBeNull();
    // Resumed where it was: not behind the frame that was torn, and without reading everything again.
    expect(gateway.resumedAfter.slice(1).every((id) => id !== null && !id.startsWith('999999'))).toBe(true);
    expect(lists()).toBe(listed);
  }, 60_000);

  it('stays where a link led, also when a search that was typed before is only carried out now', async () => {
    const [id] = fleet.seed(1, () => ({ image: 'canary', name: 'vm', memoryMiB: 32 }));
    await signIn(page, url, TOKEN);
    const search = page.getByLabel('Search microVMs');
    for (const typed of ['v', 'vm', 'm', '']) {
      await search.fill(typed);
      // The page is so busy that the address changes when the search is due, and before the page has heard of it.
      await page.evaluate(`new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => {
        for (const end = performance.now() + 200; performance.now() < end;);
        location.hash = '#/microvms/${id}';
        resolve();
      })))`);
      await page.getByRole('heading', { level: 1, name: 'vm' }).waitFor();
      expect(await page.evaluate('location.hash')).toBe(`#/microvms/${id}`);
      await page.goBack();
      await search.waitFor();
    }
  }, 60_000);

  it('goes back to the sign-in page, in words, when the token is no longer accepted', async () => {
    await signIn(page, url, TOKEN);
    gateway.token = 'another';
    gateway.dropStreams();
    await page.getByRole('alert').filter({ hasText: '401' }).waitFor();
    expect(await page.evaluate('JSON.stringify(sessionStorage)')).not.toContain(TOKEN);
    await page.getByLabel('Operator token').fill('another');
    await page.keyboard.press('Enter');
    await page.locator('[data-connection="live"]').waitFor();
  }, 60_000);

  it('shows why a command was refused', async () => {
    const [id] = fleet.seed(1, () => ({ image: 'canary', name: 'vm', memoryMiB: 32 }));
    await signIn(page, url, TOKEN);
    await rowInState(page, 'vm', 'running');
    // Stopped behind the page's back: what it shows is old by one moment.
    gateway.failWith = 409;
    await rowOf(page, 'vm').getByRole('button', { name: 'Pause' }).click();
    await page.getByRole('alert').filter({ hasText: 'the fleet is not to be reached just now' }).waitFor();
    expect(fleet.microvm(id!).state).toBe('running');
  }, 60_000);

  it('shows where all memory of a host is, what it promises, and what its guards did', async () => {
    fleet.seed(3, () => ({ image: 'canary', memoryMiB: 32 }));
    fleet.guardsAct('host-1');
    await signIn(page, url, TOKEN);
    await page.getByRole('link', { name: 'Density of host-1' }).click();
    await page.getByRole('heading', { level: 1, name: 'host-1' }).waitFor();
    const parts = page.locator('tr[data-part]');
    await parts.first().waitFor();
    const kib = await parts.evaluateAll((rows) => rows.map((row) => Number(row.getAttribute('data-kib'))));
    // The last one says what they sum to, which is all that the host has.
    expect(kib.slice(0, -1).reduce((sum, one) => sum + one, 0)).toBe(131_072 * 1_024);
    expect(kib.at(-1)).toBe(131_072 * 1_024);
    for (const part of [
      'Guest resident',
      'Guest shared',
      'VMM overhead',
      'Page tables',
      'Kernel',
      'Page cache',
      'Free',
    ])
      await page.locator('tr[data-part]', { hasText: part }).first().waitFor();
    await page.getByText('137 more of this shape fit').waitFor();
    await page.getByText('bound by memory that is available').waitFor();
    await page.getByText('in 2 h 5 min').waitFor();
    const gate = page.locator('[data-gate="bestEffort"]');
    expect(await gate.textContent()).toBe('admission shut');
    await page.locator('.reason', { hasText: 'is below 12 %' }).waitFor();
    await page.locator('[data-chart="Memory"][data-points="50"]').waitFor();
    // What is not known is no line.
    expect((await page.locator('[data-chart="Memory"] path').first().getAttribute('d'))!.match(/M/g)).toHaveLength(2);
    await page.locator('.host-story td', { hasText: 'admission of bestEffort shuts' }).waitFor();
    await page.locator('.host-story td', { hasText: 'evict 01jd0000000000000000000000' }).waitFor();
    await page.goBack();
    await page.locator('tr[data-host="host-1"]').waitFor();
  }, 60_000);

  it('cordons and uncordons a host', async () => {
    await signIn(page, url, TOKEN);
    const host = page.locator('tr[data-host="host-2"]');
    await host.getByRole('button', { name: 'Cordon', exact: true }).click();
    await host.locator('.state', { hasText: 'cordoned' }).waitFor();
    await host.getByRole('button', { name: 'Uncordon' }).click();
    await host.locator('.state', { hasText: 'ready' }).waitFor();
  }, 60_000);

  it('stays quick with 3,000 microVMs: few rows exist, all can be reached, by keyboard too', async () => {
    fleet.seed(3_000, (index) => ({ image: 'canary', name: `vm-${String(index).padStart(4, '0')}`, memoryMiB: 32 }));
    await signIn(page, url, TOKEN);
    await page.locator('[data-shown="3000"]').waitFor();
    const rows = page.locator('table.windowed tbody tr[data-id]');
    expect(await rows.count()).toBeLessThan(80);

    const table = page.getByRole('grid', { name: 'MicroVMs' });
    expect(await table.getAttribute('aria-rowcount')).toBe('3001');
    await page.getByRole('button', { name: 'Name' }).click();
    await rowOf(page, 'vm-0000').waitFor();
    await table.focus();
    await page.keyboard.press('End');
    await rowOf(page, 'vm-2999').waitFor();
    expect(await rows.count()).toBeLessThan(80);
    await page.keyboard.press('ArrowUp');
    await page.locator('tr.active', { hasText: 'vm-2998' }).waitFor();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: 'vm-2998' }).waitFor();
    await page.goBack();

    await page.getByLabel('Search microVMs').fill('vm-15');
    await page.locator('[data-shown="100"]').waitFor();
    await page.getByLabel('Select all that are shown').check();
    const bar = page.getByRole('toolbar', { name: 'Selected microVMs' });
    await bar.getByRole('button', { name: 'Pause' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Pause 100' }).click();
    await page.locator('.chip', { hasText: 'paused' }).filter({ hasText: '100' }).waitFor();
  }, 120_000);
});
