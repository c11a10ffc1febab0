// An agent of its own process for tests: launches one VMM, prints its identity once it has booted, and waits to be killed.
import { createMicrovmDriver, type LaunchSpec, type MicrovmDriverOptions } from '../index';

async function main(): Promise<void> {
  const [options, spec] = process.argv.slice(2).map((text) => JSON.parse(text) as unknown);
  const driver = createMicrovmDriver(options as MicrovmDriverOptions);
  const vm = await driver.launch(spec as LaunchSpec);
  const bootedNs = await vm.booted;
  process.stdout.write(`${JSON.stringify({ identity: vm.identity, bootedNs: String(bootedNs) })}\n`);
  await vm.exited;
}

void main();
