import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { writeCpioArchive } from '#cpio';
import type { EmulatedHostOptions } from './emulated-host.options';
import type { EmulatedHostTools } from './emulated-host.requirements';
import { EmulatedHostError } from './errors';
import { hostFileSystem } from './host-file-system';

/**
 * A whole machine with hardware KVM (AMD SVM with nested paging), emulated by QEMU without any help from this
 * machine's processor: slow, and good for nothing but correctness. In it runs the distribution's unmodified kernel
 * with its own KVM modules, so a VMM started in there meets the KVM that real hosts have.
 *
 * Nothing of it outlives {@link stop}, which must always be called: not the process, not the file it booted from. If
 * the process that started it dies first, the kernel ends QEMU too.
 */
export class EmulatedHost {
  private text = '';
  private readonly changed = new EventEmitter();
  private ended: string | undefined;

  /** Writes the host's file system and starts its emulation; does not wait for it to boot. */
  static start(tools: EmulatedHostTools, options: EmulatedHostOptions): EmulatedHost {
    const folder = mkdtempSync(join(tmpdir(), 'volley-emulated-host-'));
    try {
      const archive = join(folder, 'initramfs.cpio');
      writeCpioArchive(archive, hostFileSystem(tools, options));
      // setpriv becomes QEMU (same process id) after asking the kernel to end it together with this process.
      const qemu = spawn('setpriv', ['--pdeathsig', 'KILL', tools.qemu, ...qemuArguments(tools, options, archive)], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      return new EmulatedHost(qemu, folder, options.lifetimeMs ?? 600_000);
    } catch (cause) {
      rmSync(folder, { recursive: true, force: true });
      throw cause;
    }
  }

  private constructor(
    private readonly qemu: ChildProcessByStdio<null, Readable, Readable>,
    private readonly folder: string,
    lifetimeMs: number,
  ) {
    this.changed.setMaxListeners(0);
    const life = setTimeout(() => qemu.kill('SIGKILL'), lifetimeMs);
    life.unref();
    qemu.stdout.setEncoding('latin1').on('data', (part: string) => this.append(part));
    qemu.stderr.setEncoding('utf8').on('data', (part: string) => this.append(part));
    qemu.on('error', (cause) => this.end(`QEMU could not be started: ${cause.message}`));
    qemu.on('close', (code, signal) => {
      clearTimeout(life);
      this.end(`QEMU ended with ${signal ?? `exit code ${code}`}`);
    });
  }

  /** Process id of the emulator. */
  get pid(): number | undefined {
    return this.qemu.pid;
  }

  /** All that the host's console, and QEMU itself, have printed so far. */
  get console(): string {
    return this.text;
  }

  /**
   * Waits until the console holds a match, which may have been printed before the call.
   *
   * Throws {@link EmulatedHostError} when the deadline passes or the host ends without it.
   */
  async waitFor(pattern: RegExp, deadlineMs: number): Promise<RegExpExecArray> {
    const deadline = AbortSignal.timeout(deadlineMs);
    for (;;) {
      const match = pattern.exec(this.text);
      if (match !== null) return match;
      if (this.ended !== undefined) {
        throw new EmulatedHostError(`${this.ended} before ${pattern} appeared`, this.text);
      }
      if (deadline.aborted) {
        throw new EmulatedHostError(`${pattern} did not appear within ${deadlineMs} ms`, this.text);
      }
      await once(this.changed, 'change', { signal: deadline }).catch(() => undefined);
    }
  }

  /**
   * Waits until the script has ended and gives its exit status.
   *
   * Throws {@link EmulatedHostError} when the deadline passes or the host ends without a word.
   */
  async scriptStatus(deadlineMs: number): Promise<number> {
    const match = await this.waitFor(/^volley-host: script ended with status (\d+)\r?$/m, deadlineMs);
    return Number(match[1]);
  }

  /** Ends the emulation at once and removes what it used. May be called again. */
  async stop(): Promise<void> {
    if (this.ended === undefined) {
      this.qemu.kill('SIGKILL');
      while (this.ended === undefined) await once(this.changed, 'change');
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  private append(part: string): void {
    this.text += part;
    this.changed.emit('change');
  }

  private end(how: string): void {
    this.ended ??= how;
    this.changed.emit('change');
  }
}

function qemuArguments(tools: EmulatedHostTools, options: EmulatedHostOptions, archive: string): string[] {
  return [
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-monitor', 'none', '-serial', 'stdio'],
    ...['-accel', 'tcg,thread=multi'],
    // Without xsave: emulated SVM does not intercept xsetbv, so KVM would not learn what its guest enables.
    ...['-cpu', 'EPYC,+svm,+npt,-xsave', '-smp', String(options.cpus ?? 2), '-m', String(options.memoryMiB)],
    ...['-kernel', tools.kernel.image, '-initrd', archive],
    // Mitigations cost much time under emulation and protect nothing here.
    ...['-append', 'console=ttyS0 reboot=k panic=1 mitigations=off quiet loglevel=1'],
    ...(options.network === true ? ['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net,romfile='] : []),
  ];
}
