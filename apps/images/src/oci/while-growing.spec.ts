import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { whileGrowing } from './while-growing';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'volley-growing-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const never = new AbortController().signal;
const untilAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('ended'))));

it('ends work that has stopped, and says who is silent', async () => {
  await expect(whileGrowing(folder, 100, never, untilAborted)).rejects.toMatchObject({
    failure: 'registryAway',
    message: expect.stringContaining('sent nothing for 0.1 s'),
  });
});

it('leaves work alone that goes on, however long it takes', async () => {
  const work = async (signal: AbortSignal): Promise<boolean> => {
    for (let n = 0; n < 30; n++) {
      appendFileSync(join(folder, 'layer'), 'x');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return signal.aborted;
  };
  expect(await whileGrowing(folder, 300, never, work)).toBe(false);
});

it('passes on that it is given up, and what the work throws', async () => {
  const controller = new AbortController();
  const givenUp = whileGrowing(folder, 10_000, controller.signal, untilAborted);
  controller.abort();
  await expect(givenUp).rejects.toThrow('ended');
  await expect(whileGrowing(folder, 10_000, never, () => Promise.reject(new Error('its own')))).rejects.toThrow('own');
});
