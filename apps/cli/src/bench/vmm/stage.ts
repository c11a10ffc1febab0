import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { ArchiveEntry } from '#cpio';
import { EmulatedHost, programFiles, type EmulatedHostTools } from '#emulated-host';
import { CliError } from '../../errors';
import type { BenchFiles } from './contender';

/** Where VMMs are measured. */
export interface Stage {
  where: 'this machine' | 'emulated host';
  /** Where the files are there. */
  files: BenchFiles;
  /** Runs a shell script as root in a network namespace that nothing else uses, and gives what it printed. */
  play(script: string, deadlineMs: number, progress: (text: string) => void): Promise<string>;
}

const ROMS = '/usr/share/qemu';
const ROM_FILES = ['bios-microvm.bin', 'linuxboot_dma.bin', 'kvmvapic.bin', 'pvh.bin'];
/** Of the host, which holds its files, the measured disk and one guest in memory. */
const EMULATED_MIB = 3_072;

/** This machine. With a network, in a namespace of its own, which takes root. */
export function thisMachine(files: BenchFiles, network: boolean): Stage {
  return {
    where: 'this machine',
    files,
    play: async (script, deadlineMs, progress) => {
      const shell = ['sh', '-c', script];
      const [program = '', ...argv] = network
        ? ['unshare', '--net', '--kill-child', ...shell]
        : ['setpriv', '--pdeathsig', 'KILL', ...shell];
      const child = spawn(program, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
      const late = setTimeout(() => child.kill('SIGKILL'), deadlineMs);
      let text = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('latin1').on('data', (part: string) => {
          text += part;
          progress(part);
        });
      }
      try {
        const code = await new Promise<number | null>((resolve, reject) =>
          child.on('error', reject).on('close', resolve),
        );
        if (code === 0) return text;
        throw new CliError(`the measuring script failed (${code ?? 'killed'}); its end:\n${text.slice(-1_500)}`);
      } finally {
        clearTimeout(late);
      }
    },
  };
}

/** A host in software emulation. Its figures say nothing about speed, only how two VMMs compare that do the same there. */
export function emulatedStage(tools: EmulatedHostTools, from: BenchFiles, helpers: readonly string[]): Stage {
  const at = (name: keyof BenchFiles): string => `/bench/${name}`;
  const files: BenchFiles = {
    ...{ vmm: at('vmm'), run: at('run'), kernel: at('kernel'), initrd: at('initrd'), tools: at('tools') },
    ...{ starts: at('starts'), firecracker: at('firecracker'), firecrackerConfig: at('firecrackerConfig') },
    ...{ disk: '/tmp/measured', qemu: from.qemu, roms: from.roms },
  };
  const copied = [
    ...(['vmm', 'run', 'kernel', 'initrd', 'tools', 'starts', 'firecracker', 'firecrackerConfig'] as const),
  ];
  const entries: ArchiveEntry[] = [
    ...copied.flatMap((name) => (from[name] ? [{ path: at(name), mode: 0o755, from: from[name] }] : [])),
    ...[from.qemu, ...helpers].flatMap(programFiles),
    ...ROM_FILES.map((name) => ({ path: join(from.roms, name), from: join(from.roms, name) })),
  ];
  const unique = [...new Map(entries.map((entry) => [entry.path, entry])).values()];
  return {
    where: 'emulated host',
    files,
    play: async (script, deadlineMs, progress) => {
      const host = EmulatedHost.start(tools, {
        memoryMiB: EMULATED_MIB,
        cpus: 1,
        modules: ['tun'],
        files: unique,
        script,
        lifetimeMs: deadlineMs,
      });
      host.onConsole(progress);
      try {
        const status = await host.scriptStatus(deadlineMs);
        if (status !== 0) throw new CliError(`the measuring script failed (${status}):\n${host.console.slice(-1_500)}`);
        return host.console;
      } finally {
        await host.stop();
      }
    },
  };
}

export const QEMU_ROMS = ROMS;
