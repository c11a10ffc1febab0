import { noPlaceReason } from './no-place-reason';

it('holds the words of the host that refused', () => {
  expect(noPlaceReason('none of 1 hosts passes', { excluded: ['a', 'b'], reason: 'the disk is full' })).toBe(
    'none of 1 hosts passes; b before: the disk is full',
  );
});

it('is what placement says when no host was asked, or none said why', () => {
  expect(noPlaceReason('no host has registered', { excluded: [], reason: 'something else' })).toBe(
    'no host has registered',
  );
  expect(noPlaceReason('none', { excluded: ['a'], reason: null })).toBe('none');
});
