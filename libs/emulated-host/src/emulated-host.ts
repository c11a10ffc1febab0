import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { writeCpioArchive } from '#cpio';
import type { EmulatedHostOptions } from './emulated-host.options';
import type { EmulatedHostTools } from './emulated-host.requirements';
import { EmulatedHostError } from './errors';
import { hostFileSystem } from './host-file-system';
import { type EmulatedMachine, qemuArguments } from './qemu-arguments';

/** The last word of a host that runs one script. */
export const SCRIPT_ENDED = /^volley-host: script ended with status (\d+)\r?$/m;

/** Text of the console that is kept in memory, at least. */
const CONSOLE_KEPT = 4 << 20;

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
  private how: string | undefined;

  /** Writes a file system for one script and starts a host with it; does not wait for it to boot. */
  static start(tools: EmulatedHostTools, options: EmulatedHostOptions): EmulatedHost {
    const folder = mkdtempSync(join(tmpdir(), 'volley-emulated-host-'));
    try {
      const initrd = join(folder, 'initramfs.cpio');
      writeCpioArchive(initrd, hostFileSystem(tools, options));
      const { memoryMiB, cpus = 1, network = false, disks = [], lifetimeMs = 600_000 } = options;
      const machine = { kernelImage: tools.kernel.image, initrd, memoryMiB, cpus, network, disks };
      return EmulatedHost.boot(tools.qemu, machine, {
        lifetimeMs,
        onEnd: () => rmSync(folder, { recursive: true, force: true }),
      });
    } catch (cause) {
      rmSync(folder, { recursive: true, force: true });
      throw cause;
    }
  }

  /**
   * Starts a machine that boots what its caller has prepared.
   *
   * @param qemu path of `qemu-system-x86_64`
   * @param life `lifetimeMs`: it is killed when it is older; `onEnd` is called once, when it has ended, however it did.
   */
  static boot(
    qemu: string,
    machine: EmulatedMachine,
    life: { readonly lifetimeMs?: number; readonly onEnd?: (how: string) => void } = {},
  ): EmulatedHost {
    // setpriv becomes QEMU (same process id) after asking the kernel to end it together with this process.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', qemu, ...qemuArguments(machine)], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    return new EmulatedHost(child, life.lifetimeMs, life.onEnd);
  }

  private constructor(
    private readonly qemu: ChildProcessByStdio<Writable, Readable, Readable>,
    lifetimeMs: number | undefined,
    private readonly onEnd: ((how: string) => void) | undefined,
  ) {
    this.changed.setMaxListeners(0);
    const life = lifetimeMs === undefined ? undefined : setTimeout(() => qemu.kill('SIGKILL'), lifetimeMs);
    life?.unref();
    qemu.stdin.on('error', () => undefined); // it may end while a line is under way
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

  /** What the host's console, and QEMU itself, have printed so far; of a host that lives long, the end of it. */
  get console(): string {
    return this.text;
  }

  /** How QEMU ended; undefined while it runs. */
  get ended(): string | undefined {
    return this.how;
  }

  /** Calls `listener` with everything that is printed from now on. */
  onConsole(listener: (text: string) => void): void {
    this.changed.on('text', listener);
  }

  /** Types a line on the host's console. */
  type(line: string): void {
    this.qemu.stdin.write(`${line}\n`);
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
      if (this.how !== undefined) {
        throw new EmulatedHostError(`${this.how} before ${pattern} appeared`, this.text);
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
    const match = await this.waitFor(SCRIPT_ENDED, deadlineMs);
    return Number(match[1]);
  }

  /** Resolves to whether the host has ended, of itself, before the deadline. */
  async endsWithin(deadlineMs: number): Promise<boolean> {
    const deadline = AbortSignal.timeout(deadlineMs);
    while (this.how === undefined && !deadline.aborted) {
      await once(this.changed, 'change', { signal: deadline }).catch(() => undefined);
    }
    return this.how !== undefined;
  }

  /** Ends the emulation at once and removes what it used. May be called again. */
  async stop(): Promise<void> {
    if (this.how !== undefined) return;
    this.qemu.kill('SIGKILL');
    while (this.how === undefined) await once(this.changed, 'change');
  }

  private append(part: string): void {
    this.text += part;
    if (this.text.length > 2 * CONSOLE_KEPT) this.text = this.text.slice(-CONSOLE_KEPT);
    this.changed.emit('text', part);
    this.changed.emit('change');
  }

  private end(how: string): void {
    if (this.how !== undefined) return;
    this.how = how;
    this.onEnd?.(how);
    this.changed.emit('change');
  }
}
