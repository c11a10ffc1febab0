import { accessSync, constants } from 'node:fs';
import { InvalidArgumentError } from 'commander';
import { findProgram } from '#emulated-host';
import { CliError } from '../../errors';

export const RIVALS = ['qemu', 'firecracker'] as const;

/** Another VMM to be measured against. */
export interface Rival {
  kind: (typeof RIVALS)[number];
  /** Of its program; without, the one that is installed. */
  path?: string;
}

/** `qemu`, `qemu=PATH` or `firecracker=PATH`, one for each time the option is given. */
export function rivalOption(text: string, before: readonly Rival[] = []): Rival[] {
  const [name = '', ...path] = text.split('=');
  const kind = RIVALS.find((known) => known === name);
  if (kind === undefined) throw new InvalidArgumentError(`is one of ${RIVALS.join(', ')}, each with =PATH if need be`);
  if (before.some((one) => one.kind === kind)) throw new InvalidArgumentError(`${kind} is named twice`);
  return [...before, { kind, ...(path.length === 0 ? {} : { path: path.join('=') }) }];
}

const INSTALLED = { qemu: 'qemu-system-x86_64', firecracker: 'firecracker' } as const;
const TO_DO = {
  qemu: 'install the Debian package qemu-system-x86, or name its program: --against qemu=PATH',
  firecracker: 'it is in no package of Debian; name its program: --against firecracker=PATH',
} as const;

/** Where the program of a rival is. @throws CliError when it is not there, with what to do. */
export function rivalProgram({ kind, path }: Rival): string {
  const found = path ?? findProgram(INSTALLED[kind]);
  if (found === undefined) throw new CliError(`${INSTALLED[kind]} is missing; ${TO_DO[kind]}`);
  try {
    accessSync(found, constants.X_OK);
  } catch {
    throw new CliError(`${found} is no program that can be run; ${TO_DO[kind]}`);
  }
  return found;
}
