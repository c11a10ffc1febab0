import { linuxGuests, platformOf } from './host-description';

describe('what a host offers', () => {
  it('is everything on hardware KVM', () => {
    const probe = { available: true, kind: 'hardware' as const };
    expect(linuxGuests(probe)).toEqual({ available: true });
    expect(platformOf(probe)).toMatchObject({ kvm: 'hardware' });
  });

  it('is no guest of any kind where stand-ins are started: no Linux, no snapshots', () => {
    const probe = { available: true, kind: 'stand-in' as const };
    expect(linuxGuests(probe)).toMatchObject({
      available: false,
      reason: expect.stringMatching(/stand-ins/) as string,
    });
    expect(platformOf(probe)).toBeUndefined();
  });

  it('is nothing without KVM', () => {
    const probe = { available: false, reason: 'there is none' };
    expect(linuxGuests(probe)).toEqual({ available: false, reason: 'there is none' });
    expect(platformOf(probe)).toBeUndefined();
  });
});
