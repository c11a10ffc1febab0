import { resolve } from 'node:path';
import { toDeviceOrders } from './device-spec';
import { limiterNumbers } from './limiter';
import type { BootProtocol, Irqchip, LaunchSpec } from './microvm-driver';
import type { NativeLaunchOrder } from './native-binding';
import { demand, isPath, isWhole } from './spec-checks';

// Numbers and limits of native/abi/volley_abi.h.
const BOOT_PROTOCOLS: Record<BootProtocol, number> = { flat: 1, linux: 2 };
const IRQCHIPS: Record<Irqchip, number> = { split: 1, full: 2 };
const MAX_VCPUS = 32;
const MAX_ID_BYTES = 63;
const MAX_CMDLINE_BYTES = 2047;
/** It is small things that a launch brings along; what is large comes as a file. */
const MAX_INITRD_EXTRA_BYTES = 16 * 1024 * 1024;
const MIN_MEMORY_MIB = 2;
/** 16 TiB: beyond every host, and far below where bytes stop being exact numbers. */
const MAX_MEMORY_MIB = 16 * 1024 * 1024;

/** Checks a spec and turns it into what the binding takes. Throws {@link VmmLaunchError} naming the field. */
export function toLaunchOrder(spec: LaunchSpec): NativeLaunchOrder {
  const idOk = typeof spec.id === 'string' && /^[\x21-\x7e]+$/.test(spec.id) && spec.id.length <= MAX_ID_BYTES;
  demand(idOk, `id must be 1 to ${MAX_ID_BYTES} printable ASCII characters without spaces`);
  demand(isPath(spec.directory), 'directory must be a path');
  const { restore, kernelPath } = spec;
  demand(restore !== undefined || isPath(kernelPath), 'kernelPath must be a path');
  demand(restore === undefined || isPath(restore.directory), 'restore.directory must be a path');
  demand(spec.initrdPath === undefined || isPath(spec.initrdPath), 'initrdPath must be a path, or absent');
  const { initrdExtra } = spec;
  demand(
    initrdExtra === undefined || (initrdExtra instanceof Uint8Array && initrdExtra.length <= MAX_INITRD_EXTRA_BYTES),
    `initrdExtra must be at most ${MAX_INITRD_EXTRA_BYTES} bytes, or absent`,
  );
  const bootProtocol = Object.hasOwn(BOOT_PROTOCOLS, spec.bootProtocol) ? BOOT_PROTOCOLS[spec.bootProtocol] : 0;
  demand(bootProtocol !== 0, `bootProtocol must be one of ${Object.keys(BOOT_PROTOCOLS).join(', ')}`);
  const irqchip = Object.hasOwn(IRQCHIPS, spec.irqchip) ? IRQCHIPS[spec.irqchip] : 0;
  demand(irqchip !== 0, `irqchip must be one of ${Object.keys(IRQCHIPS).join(', ')}`);
  demand(isWhole(spec.vcpus, 1, MAX_VCPUS), `vcpus must be a whole number from 1 to ${MAX_VCPUS}`);
  demand(
    isWhole(spec.memoryMiB, MIN_MEMORY_MIB, MAX_MEMORY_MIB),
    `memoryMiB must be a whole number from ${MIN_MEMORY_MIB} to ${MAX_MEMORY_MIB}`,
  );
  const cmdlineOk =
    typeof spec.cmdline === 'string' && /^[\x20-\x7e]*$/.test(spec.cmdline) && spec.cmdline.length <= MAX_CMDLINE_BYTES;
  demand(cmdlineOk, `cmdline must be at most ${MAX_CMDLINE_BYTES} bytes of printable ASCII`);
  return {
    id: spec.id,
    directory: resolve(spec.directory),
    ...(restore === undefined
      ? { kernelPath: resolve(kernelPath!) }
      : { restoreDirectory: resolve(restore.directory) }),
    ...(spec.initrdPath === undefined ? {} : { initrdPath: resolve(spec.initrdPath) }),
    ...(initrdExtra === undefined ? {} : { initrdExtra }),
    cmdline: spec.cmdline,
    bootProtocol,
    irqchip,
    vcpus: spec.vcpus,
    memoryBytes: spec.memoryMiB * 1024 * 1024,
    devices: toDeviceOrders(spec.devices),
    consoleLimit: limiterNumbers(spec.consoleLimit, 'consoleLimit'),
  };
}
