import { MicrovmSpec } from '#protocol';
import { sharedSpec } from './shared-spec';

const spec = (name: string) => MicrovmSpec.parse({ image: 'canary', name });

describe('specs in memory', () => {
  it('are one object when they are equal', () => {
    const first = sharedSpec(spec('one'), 'h1');
    expect(sharedSpec(spec('one'), 'h1')).toBe(first);
    expect(sharedSpec(spec('two'), 'h2').spec).toEqual(spec('two'));
  });

  it('keep the hash of what was asked for, also when it was asked for by another name', () => {
    sharedSpec(spec('pinned'), 'by tag');
    expect(sharedSpec(spec('pinned'), 'by digest')).toEqual({ spec: spec('pinned'), specHash: 'by digest' });
  });

  it('are forgotten when many others came since, and stay right', () => {
    const first = sharedSpec(spec('old'), 'h');
    for (let i = 0; i < 2_000; i++) sharedSpec(spec(`n${i}`), `h${i}`);
    const again = sharedSpec(spec('old'), 'h');
    expect(again).toEqual(first);
    expect(again.spec).not.toBe(first.spec);
  });
});
