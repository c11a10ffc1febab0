import { describeWithChromium, startBrowser, type Browser } from '../support/console/browser';
import { consoleFlow, rowInState, signIn } from '../support/console/console-flow';
import { Fleet } from '../support/fleet';
import { kvmMissing } from '../support/kvm';
import { natsServerMissing } from '../support/nats-server';

jest.setTimeout(180_000);

describeWithChromium('the console page on the whole system', () => {
  const missing = kvmMissing() ?? natsServerMissing();
  if (missing) {
    process.stderr.write(`SKIPPED: the console page on the whole system: ${missing}\n`);
    return it.todo(`needs: ${missing}`);
  }
  let fleet: Fleet;
  let browser: Browser;

  beforeAll(async () => {
    [fleet, browser] = await Promise.all([Fleet.up(), startBrowser()]);
  });
  afterAll(async () => {
    await browser?.close();
    await fleet?.down();
  });

  it('carries an operator through the life of a real microVM', async () => {
    const page = await browser.context.newPage();
    const { id } = await consoleFlow(page, fleet.url, fleet.token);
    expect((await fleet.get(id)).state).toBe('deleted');
    await page.close();
  });

  it('misses nothing while the gateway is killed and comes back', async () => {
    const page = await browser.context.newPage();
    const lists: string[] = [];
    page.on('request', (request) => {
      if (/\/v1\/microvms\?/.test(request.url())) lists.push(request.url());
    });
    await signIn(page, fleet.url, fleet.token);
    const { id } = await fleet.running({ name: 'witness' });
    await rowInState(page, 'witness', 'running');

    const vmm = fleet.vmms().find(({ microvmId }) => microvmId === id);
    expect(vmm?.pid).toBeGreaterThan(1);
    const listed = lists.length;

    await fleet.kill9('volley-gateway');
    await page.locator('[data-connection="waiting"]').waitFor();
    // A VMM that dies while nobody watches.
    process.kill(vmm!.pid, 'SIGKILL');
    await page.locator('[data-connection="live"]').waitFor({ timeout: 30_000 });
    await rowInState(page, 'witness', 'failed');
    // By the stream alone: nothing was listed a second time.
    expect(lists).toHaveLength(listed);
    await page.close();
  });
});
