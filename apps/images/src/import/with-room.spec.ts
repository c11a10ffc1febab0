import { statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { withRoom } from './with-room';

const never = new AbortController().signal;
const free = (): number => {
  const { bavail, bsize } = statfsSync(tmpdir());
  return bavail * bsize;
};

it('does work where there is room', async () => {
  expect(await withRoom(tmpdir(), 0, never, () => Promise.resolve('done'))).toBe('done');
  await expect(withRoom(tmpdir(), 0, never, () => Promise.reject(new Error('its own')))).rejects.toThrow('its own');
});

it('does not begin where there is none', async () => {
  const work = jest.fn();
  await expect(withRoom(tmpdir(), 2 * free(), never, work)).rejects.toMatchObject({ failure: 'noSpace' });
  expect(work).not.toHaveBeenCalled();
});

it('ends work that takes what must stay free', async () => {
  let reserve = 0;
  const untilAborted = (signal: AbortSignal): Promise<never> =>
    new Promise((_, reject) => {
      reserve = Infinity;
      signal.addEventListener('abort', () => reject(new Error('ended')));
    });
  // A number that grows stands for a disk that shrinks.
  const growing = { valueOf: () => reserve } as unknown as number;
  await expect(withRoom(tmpdir(), growing, never, untilAborted)).rejects.toMatchObject({ failure: 'noSpace' });
});

it('ends work that is given up', async () => {
  const controller = new AbortController();
  const work = (signal: AbortSignal): Promise<never> =>
    new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(new Error('ended')));
      controller.abort();
    });
  await expect(withRoom(tmpdir(), 0, controller.signal, work)).rejects.toThrow('ended');
});
