import { InvalidArgumentError } from 'commander';
import { parseDuration } from '../output/quantities';

/** For `--count 5`: a whole number of at least `least`. */
export function wholeNumber(least: number, most = Number.MAX_SAFE_INTEGER) {
  return (text: string): number => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most) {
      throw new InvalidArgumentError(
        `It must be a whole number ${most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`}.`,
      );
    }
    return value;
  };
}

/** For `--timeout 20s`; gives ms. */
export function durationOption(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError("It must be a duration such as '500ms', '20s' or '2m'.");
  return ms;
}

/** For `--memory 256`, `256M`, `1G`; gives MiB. */
export function memoryOption(text: string): number {
  const match = /^(\d+)\s*(m|mb|mib|g|gb|gib)?$/i.exec(text);
  if (!match) throw new InvalidArgumentError("It must be a size in MiB, such as '256', or '2G'.");
  return Number(match[1]) * (match[2]?.toLowerCase().startsWith('g') ? 1_024 : 1);
}

/** For `--bytes 1500`, `500K`, `10M`, `1G`, in powers of 1,024; gives bytes. */
export function bytesOption(text: string): number {
  const match = /^(\d+)\s*([kmg]?)(?:i?b)?$/i.exec(text);
  if (!match) throw new InvalidArgumentError("It must be a number of bytes, such as '1500', '500K' or '10M'.");
  return Number(match[1]) * 1_024 ** ['', 'k', 'm', 'g'].indexOf(match[2]!.toLowerCase());
}

/** For `--label KEY=VALUE`, repeated, and for arguments KEY=VALUE. */
export function labelOption(text: string, others: Record<string, string> = {}): Record<string, string> {
  const equals = text.indexOf('=');
  if (equals < 1) throw new InvalidArgumentError('It must be KEY=VALUE.');
  return { ...others, [text.slice(0, equals)]: text.slice(equals + 1) };
}

/** For `--env NAME=VALUE`, repeated; `NAME` alone takes the value it has here. */
export function variableOption(text: string, others: Record<string, string> = {}): Record<string, string> {
  const equals = text.indexOf('=');
  if (equals === 0) throw new InvalidArgumentError('It must be NAME=VALUE, or NAME of a variable that is set here.');
  if (equals > 0) return { ...others, [text.slice(0, equals)]: text.slice(equals + 1) };
  const value = process.env[text];
  if (value === undefined) throw new InvalidArgumentError(`There is no variable ${text} here; say ${text}=VALUE.`);
  return { ...others, [text]: value };
}

export function listOption(text: string, others: string[] = []): string[] {
  return [...others, ...text.split(',').filter((part) => part !== '')];
}

/** For `--overcommit-cpu 4`. */
export function ratioOption(text: string): number {
  const ratio = Number(text);
  if (!(ratio > 0 && ratio <= 1_000)) throw new InvalidArgumentError('It must be a number above 0, at most 1000.');
  return ratio;
}

export interface DiskOption {
  sizeMiB: number;
  mount?: string;
  fresh?: 'empty' | 'ext4';
}

/** For `--disk 512`, `--disk 2G:/data` and, of a clone, `--disk 2G:ext4`, repeated. */
export function diskOption(text: string, others: DiskOption[] = []): DiskOption[] {
  const colon = text.indexOf(':');
  if (colon < 0) return [...others, { sizeMiB: memoryOption(text) }];
  const [sizeMiB, what] = [memoryOption(text.slice(0, colon)), text.slice(colon + 1)];
  return [...others, what === 'empty' || what === 'ext4' ? { sizeMiB, fresh: what } : { sizeMiB, mount: what }];
}

export interface ForwardOption {
  protocol: 'tcp' | 'udp';
  hostPort: number;
  guestPort: number;
}

/** For `--publish 8080:80` and `--publish 5353:53/udp`, repeated. */
export function forwardOption(text: string, others: ForwardOption[] = []): ForwardOption[] {
  const match = /^(\d{1,5}):(\d{1,5})(?:\/(tcp|udp))?$/.exec(text);
  if (!match) throw new InvalidArgumentError("It must be HOSTPORT:GUESTPORT, such as '8080:80' or '5353:53/udp'.");
  const [, hostPort, guestPort, protocol = 'tcp'] = match;
  return [...others, { protocol: protocol as 'tcp' | 'udp', hostPort: Number(hostPort), guestPort: Number(guestPort) }];
}

export interface IdleOption {
  afterSeconds: number;
  cpuPercent?: number;
}

/** For `--idle-stop 10m` and `--idle-stop 10m:2.5`. */
export function idleOption(text: string): IdleOption {
  const [time = '', percent, ...more] = text.split(':');
  const cpuPercent = Number(percent);
  if (more.length > 0 || (percent !== undefined && !(cpuPercent > 0))) {
    throw new InvalidArgumentError("It must be a duration, with a percentage of a CPU if wanted: '10m' or '10m:2.5'.");
  }
  const afterSeconds = Math.ceil(durationOption(time) / 1_000);
  return { afterSeconds, ...(percent === undefined ? {} : { cpuPercent }) };
}
