import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  createMicrovmDriver,
  type LaunchSpec,
  type MicrovmDriver,
  type MicrovmDriverOptions,
  type MicrovmProcess,
  type Shell,
} from '#microvm';
import { artefacts, makeTmpfsDirectory } from './kvm';

/** What tests of one `describe` share: a driver, a folder on tmpfs, and the microVMs that end with the test that launched them. */
export interface DriverInUse {
  readonly driver: MicrovmDriver;
  readonly path: string;
  /** Are killed and released after each test. */
  readonly held: Set<MicrovmProcess>;
  /** A canary with one vCPU, unless said otherwise, in a directory of its own. */
  spec(changes?: Partial<LaunchSpec>): LaunchSpec;
  launch(changes?: Partial<LaunchSpec>, shell?: Shell): Promise<MicrovmProcess>;
}

/** To be called in a `describe`. `usual`: how its microVMs differ from a canary with 16 MiB. */
export function useDriver(
  usual: Partial<LaunchSpec> = {},
  program: Pick<MicrovmDriverOptions, 'vmmPath' | 'standIn'> = { vmmPath: artefacts.vmm },
): DriverInUse {
  let scratch: ReturnType<typeof makeTmpfsDirectory>;
  let driver: MicrovmDriver;
  let count = 0;
  const held = new Set<MicrovmProcess>();

  beforeAll(() => {
    scratch = makeTmpfsDirectory();
    driver = createMicrovmDriver({ ...program, bindingPath: artefacts.binding });
  });
  afterEach(async () => {
    for (const vm of held) {
      vm.kill();
      await vm.exited;
      vm.release();
    }
    held.clear();
  });
  afterAll(() => {
    driver.close();
    scratch.remove();
  });

  const spec = (changes: Partial<LaunchSpec> = {}): LaunchSpec => {
    const id = changes.id ?? `vm-${++count}`;
    const directory = join(scratch.path, id);
    mkdirSync(directory);
    return {
      ...{ id, directory, bootProtocol: 'flat', irqchip: 'split', vcpus: 1, memoryMiB: 16, cmdline: '' },
      ...(changes.restore ? {} : { kernelPath: artefacts.canary }),
      ...usual,
      ...changes,
    };
  };
  return {
    held,
    spec,
    get driver() {
      return driver;
    },
    get path() {
      return scratch.path;
    },
    async launch(changes, shell) {
      const vm = await driver.launch(spec(changes), shell);
      held.add(vm);
      return vm;
    },
  };
}
