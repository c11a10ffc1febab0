// An agent of its own process for tests: launches one VMM, prints its identity once it has booted, and waits to be killed.
// With a third word it prepares a shell instead, and prints its process id.
import { createMicrovmDriver, type LaunchSpec, type MicrovmDriverOptions, type ShellSpec } from '../index';

async function main(): Promise<void> {
  const [options, spec, shellSpec] = process.argv.slice(2).map((text) => JSON.parse(text) as unknown);
  const driver = createMicrovmDriver(options as MicrovmDriverOptions);
  if (shellSpec !== undefined) {
    const shell = await driver.prepare(shellSpec as ShellSpec);
    process.stdout.write(`${JSON.stringify({ shell: shell.pid })}\n`);
    return void setInterval(() => undefined, 1_000);
  }
  const vm = await driver.launch(spec as LaunchSpec);
  const bootedNs = await vm.booted;
  process.stdout.write(`${JSON.stringify({ identity: vm.identity, bootedNs: String(bootedNs) })}\n`);
  await vm.exited;
}

void main();
