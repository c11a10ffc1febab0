import { resolve } from 'node:path';
import { limiterNumbers } from './limiter';
import type { DeviceSpec } from './microvm-driver';
import type { NativeDeviceOrder } from './native-binding';
import { demand, isPath, isWhole } from './spec-checks';

/** `volley_device_type` of native/abi. */
const TYPES = { block: 1, net: 2, vsock: 3, balloon: 4, rng: 5 } as const;
const BLOCK_READ_ONLY = 1;
const BLOCK_OVERLAY = 2;
const BLOCK_REPLACED = 4;
const BALLOON_DEFLATE_ON_OOM = 1;
const BALLOON_REPORTING = 2;
const BALLOON_STATISTICS = 4;

export const MAX_DEVICES = 17;
const SECTOR = 512;
const PAGE = 4096;
const MAX_SERIAL_BYTES = 20;
const FIRST_GUEST_CID = 3;
const MAX_GUEST_CID = 0xffff_fffe;
const SINGLE: readonly DeviceSpec['type'][] = ['vsock', 'balloon', 'rng'];

/** Checks the devices of a launch and turns them into what the binding takes. Throws {@link VmmLaunchError} naming the field. */
export function toDeviceOrders(devices: readonly DeviceSpec[] = []): NativeDeviceOrder[] {
  demand(Array.isArray(devices) && devices.length <= MAX_DEVICES, `devices must be a list of at most ${MAX_DEVICES}`);
  for (const type of SINGLE) {
    demand(devices.filter((device) => device.type === type).length <= 1, `devices: at most one ${type}`);
  }
  return devices.map((device, index) => toDeviceOrder(device, `devices[${index}]`));
}

function toDeviceOrder(device: DeviceSpec, field: string): NativeDeviceOrder {
  demand(Object.hasOwn(TYPES, device.type), `${field}.type must be one of ${Object.keys(TYPES).join(', ')}`);
  const type = TYPES[device.type];
  switch (device.type) {
    case 'block': {
      const { path, overlayPath, readOnly, sizeBytes, serial = '', limit, replaced = false } = device;
      demand(isPath(path), `${field}.path must be a path`);
      demand(overlayPath === undefined || isPath(overlayPath), `${field}.overlayPath must be a path, or absent`);
      demand(typeof readOnly === 'boolean', `${field}.readOnly must be true or false`);
      demand(!readOnly || overlayPath === undefined, `${field}: a read-only disk has no overlay to write to`);
      demand(
        isWhole(sizeBytes, SECTOR, Number.MAX_SAFE_INTEGER) && sizeBytes % SECTOR === 0,
        `${field}.sizeBytes must be a multiple of ${SECTOR}, and not 0`,
      );
      demand(
        /^[\x21-\x7e]*$/.test(serial) && serial.length <= MAX_SERIAL_BYTES,
        `${field}.serial must be at most ${MAX_SERIAL_BYTES} characters of ASCII without spaces`,
      );
      return {
        type,
        flags:
          (readOnly ? BLOCK_READ_ONLY : 0) |
          (overlayPath === undefined ? 0 : BLOCK_OVERLAY) |
          (replaced ? BLOCK_REPLACED : 0),
        path: resolve(path),
        ...(overlayPath === undefined ? {} : { overlayPath: resolve(overlayPath) }),
        size: sizeBytes,
        serial,
        limits: limiterNumbers(limit, `${field}.limit`),
      };
    }
    case 'net': {
      const { tapFd, mac, mtu = 0, receiveLimit, sendLimit } = device;
      demand(isWhole(tapFd, 0, 0x7fff_ffff), `${field}.tapFd must be an open descriptor`);
      demand(mtu === 0 || isWhole(mtu, 68, 65_535), `${field}.mtu must be a whole number from 68 to 65535, or absent`);
      return {
        type,
        flags: 0,
        tapFd,
        mac: toMacBytes(mac, `${field}.mac`),
        mtu,
        limits: [
          ...limiterNumbers(receiveLimit, `${field}.receiveLimit`),
          ...limiterNumbers(sendLimit, `${field}.sendLimit`),
        ],
      };
    }
    case 'vsock': {
      const { guestCid = FIRST_GUEST_CID } = device;
      demand(
        isWhole(guestCid, FIRST_GUEST_CID, MAX_GUEST_CID),
        `${field}.guestCid must be a whole number from ${FIRST_GUEST_CID} on`,
      );
      return { type, flags: 0, guestCid };
    }
    case 'balloon': {
      const { startBytes = 0, deflateOnOom = false, reporting = false, statisticsMs = 0 } = device;
      demand(
        isWhole(startBytes, 0, Number.MAX_SAFE_INTEGER) && startBytes % PAGE === 0,
        `${field}.startBytes must be a multiple of ${PAGE}`,
      );
      demand(
        isWhole(statisticsMs, 0, 3_600_000),
        `${field}.statisticsMs must be a whole number of at most 3600000, 0 = never`,
      );
      return {
        type,
        flags:
          (deflateOnOom ? BALLOON_DEFLATE_ON_OOM : 0) |
          (reporting ? BALLOON_REPORTING : 0) |
          (statisticsMs > 0 ? BALLOON_STATISTICS : 0),
        size: startBytes,
        statisticsMs,
      };
    }
    case 'rng':
      return { type, flags: 0, limits: limiterNumbers(device.limit, `${field}.limit`) };
  }
}

function toMacBytes(mac: string, field: string): Uint8Array {
  demand(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac), `${field} must look like 02:00:00:00:00:01`);
  const bytes = Uint8Array.from(mac.split(':'), (pair) => parseInt(pair, 16));
  demand(((bytes[0] ?? 0) & 1) === 0, `${field} is a group address, which no interface may have`);
  return bytes;
}
