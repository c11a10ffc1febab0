import fc from 'fast-check';
import { makeTmpfsDirectory } from '../../../../test/support/kvm';
import { photographCrashes } from '../testing/crash-leftover';
import { anyCrashStep, stepsOfOne } from '../testing/crash-steps';
import { goOnAfterCrash } from '../testing/life-after-crash';

describe('a crash at any moment', () => {
  it('runs nothing twice, orphans nothing and loses no end', async () => {
    let crashes = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(anyCrashStep, { minLength: 1, maxLength: 8 }), async (steps) => {
        const root = makeTmpfsDirectory('volley-photo-');
        try {
          const photos = await photographCrashes(root.path, steps);
          crashes += photos.length;
          // They wait more than they work.
          for (let i = 0; i < photos.length; i += 16) await Promise.all(photos.slice(i, i + 16).map(goOnAfterCrash));
        } finally {
          root.remove();
        }
      }),
      {
        // Chance seldom suspends what runs and lets it go on.
        examples: [
          [stepsOfOne(['start', 1], ['snapshot', 1], ['suspend', 1], ['restore', 1], ['suspend', 2], ['erase', 2])],
          [stepsOfOne(['start', 1], ['pause', 1], ['suspend', 1], ['restore', 1], ['snapshot', 2])],
          [stepsOfOne(['start', 1], ['suspend', 1], ['verify', 2], ['stop', 2], ['start', 2])],
        ],
        numRuns: 40,
        endOnFailure: true,
        interruptAfterTimeLimit: 60_000,
      },
    );
    expect(crashes).toBeGreaterThan(100);
  }, 120_000);
});
