import { toDeviceOrders } from './device-spec';
import { VmmLaunchError } from './errors';
import type { DeviceSpec } from './microvm-driver';

const disk: DeviceSpec = { type: 'block', path: '/d', readOnly: false, sizeBytes: 1024 };
const net: DeviceSpec = { type: 'net', tapFd: 7, mac: '02:00:00:00:00:0A' };
const limit = { bytes: { size: 1, burst: 2, refillMs: 3 }, operations: { size: 4, refillMs: 5 } };

describe('toDeviceOrders', () => {
  it('translates each kind', () => {
    const specs: DeviceSpec[] = [
      { ...disk, overlayPath: '/o', serial: 'root', limit },
      { ...disk, readOnly: true },
      { ...net, mtu: 1400, receiveLimit: limit },
      { type: 'vsock' },
      { type: 'balloon', startBytes: 8192, deflateOnOom: true, reporting: true, statisticsMs: 1000 },
      { type: 'rng', limit },
    ];
    const none = [0, 0, 0, 0, 0, 0];
    expect(toDeviceOrders(specs)).toEqual([
      {
        type: 1,
        flags: 2,
        path: '/d',
        overlayPath: '/o',
        size: 1024,
        serial: 'root',
        limits: [1, 2, 3, 4, 0, 5],
      },
      { type: 1, flags: 1, path: '/d', size: 1024, serial: '', limits: none },
      {
        type: 2,
        flags: 0,
        tapFd: 7,
        mac: Uint8Array.of(2, 0, 0, 0, 0, 10),
        mtu: 1400,
        limits: [1, 2, 3, 4, 0, 5, ...none],
      },
      { type: 3, flags: 0, guestCid: 3 },
      { type: 4, flags: 7, size: 8192, statisticsMs: 1000 },
      { type: 5, flags: 0, limits: [1, 2, 3, 4, 0, 5] },
    ]);
    expect(toDeviceOrders()).toEqual([]);
  });

  it.each([
    ['type', { type: 'gpu' }],
    ['type', { type: 'toString' }],
    ['path', { ...disk, path: '' }],
    ['overlayPath', { ...disk, overlayPath: 'a\0' }],
    ['overlay', { ...disk, overlayPath: '/o', readOnly: true }],
    ['readOnly', { ...disk, readOnly: 1 }],
    ['sizeBytes', { ...disk, sizeBytes: 513 }],
    ['sizeBytes', { ...disk, sizeBytes: 0 }],
    ['serial', { ...disk, serial: 'x'.repeat(21) }],
    ['limit.bytes.size', { ...disk, limit: { bytes: { size: 0.5, refillMs: 1 } } }],
    ['tapFd', { ...net, tapFd: -1 }],
    ['mac', { ...net, mac: '02:00' }],
    ['mac', { ...net, mac: '03:00:00:00:00:01' }],
    ['mtu', { ...net, mtu: 67 }],
    ['guestCid', { type: 'vsock', guestCid: 2 }],
    ['startBytes', { type: 'balloon', startBytes: 1 }],
    ['statisticsMs', { type: 'balloon', statisticsMs: -1 }],
  ])('refuses a wrong %s, naming it', (field, device) => {
    const refused = () => toDeviceOrders([disk, device as DeviceSpec]);
    expect(refused).toThrow(VmmLaunchError);
    expect(refused).toThrow(field);
    expect(refused).toThrow('devices[1]');
  });

  it('refuses too many', () => {
    expect(() => toDeviceOrders(Array<DeviceSpec>(18).fill(disk))).toThrow(/at most 17/);
    expect(() => toDeviceOrders([{ type: 'rng' }, { type: 'rng' }])).toThrow(/at most one rng/);
    expect(toDeviceOrders(Array<DeviceSpec>(17).fill(net))).toHaveLength(17);
  });
});
