import { InitConfigError } from './errors';

/** A disk that init mounts besides the root file system. */
export interface GuestMount {
  /** Block device, such as /dev/vdc. */
  device: string;
  /** Where; made if it is not there. */
  path: string;
  /** File system, such as ext4. */
  type: string;
  readOnly: boolean;
}

/** A network interface, found by its MAC. */
export interface GuestInterface {
  mac: string;
  address: string;
  prefix: number;
  gateway?: string;
  mtu?: number;
}

/** What `init` of a Linux guest is told at boot; see native/abi/volley_guest.h for the meaning of each field. */
export interface InitConfig {
  /** Absent: init serves from the initial ram disk itself, which is for tests. */
  root?: { device: string; type: 'squashfs' | 'erofs' | 'ext4' };
  /** Block device (ext4) of the writable layer; absent: a tmpfs takes writes. */
  overlay?: string;
  mounts?: readonly GuestMount[];
  /** The program and its arguments; absent: nothing runs, and init serves on. */
  args?: readonly string[];
  /** Of the program and of what is run by exec: `NAME=value`. */
  env?: readonly string[];
  /** As in an OCI image. */
  user?: string;
  workdir?: string;
  hostname?: string;
  interfaces?: readonly GuestInterface[];
  /** Name servers. */
  dns?: readonly string[];
  /** Paths of modules in the initial ram disk, in the order in which they are loaded. */
  modules?: readonly string[];
  /** What init does when the program has ended. Default: poweroff. */
  onExit?: 'poweroff' | 'reboot' | 'stay';
  /** Time from SIGTERM to SIGKILL when the guest is told to stop, in ms. Default: 10 000. */
  graceMs?: number;
  /** Wall clock, s since 1970. */
  time?: number;
}

/** So much of a configuration init reads. */
export const INIT_CONFIG_MAX_BYTES = 1024 * 1024;

/**
 * Encodes /volley/config: records of key and value, each closed by NUL.
 *
 * @throws InitConfigError when a value cannot be said in it.
 */
export function encodeInitConfig(config: InitConfig): Buffer {
  const records: string[] = [];
  const say = (key: string, value: string | number | undefined): void => {
    if (value === undefined) return;
    const text = String(value);
    if (text.includes('\0')) throw new InitConfigError(`${key} must not hold a NUL byte: ${JSON.stringify(text)}`);
    records.push(`${key}\0${text}\0`);
  };
  const list = (key: string, values: readonly string[] | undefined): void => values?.forEach((one) => say(key, one));

  say('root', config.root?.device);
  say('root.type', config.root?.type);
  say('overlay', config.overlay);
  list('mount', config.mounts?.map(mountText));
  list('module', config.modules);
  list('arg', config.args);
  list('env', config.env?.map(envText));
  say('user', config.user === '' ? undefined : config.user);
  say('cwd', config.workdir === '' ? undefined : config.workdir);
  say('hostname', config.hostname);
  list('net', config.interfaces?.map(interfaceText));
  list('dns', config.dns);
  say('on.exit', config.onExit);
  say('grace', config.graceMs === undefined ? undefined : Math.round(config.graceMs));
  say('time', config.time === undefined ? undefined : Math.floor(config.time));

  const encoded = Buffer.from(records.join(''), 'utf8');
  if (encoded.length > INIT_CONFIG_MAX_BYTES) {
    throw new InitConfigError(
      `what the guest is told at boot takes ${encoded.length} bytes and must not take more than ${INIT_CONFIG_MAX_BYTES}: ` +
        'shorten command and environment',
    );
  }
  return encoded;
}

function mountText({ device, path, type, readOnly }: GuestMount): string {
  for (const part of [device, path, type]) {
    if (part === '' || part.includes(':')) {
      throw new InitConfigError(`a mount's device, path and type must not be empty or hold a colon: ${part}`);
    }
  }
  return `${device}:${path}:${type}:${readOnly ? 'ro' : 'rw'}`;
}

function envText(variable: string): string {
  if (variable.indexOf('=') < 1) throw new InitConfigError(`env must be NAME=value, not ${JSON.stringify(variable)}`);
  return variable;
}

function interfaceText({ mac, address, prefix, gateway, mtu }: GuestInterface): string {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac)) throw new InitConfigError(`${mac} is not a MAC address`);
  for (const ip of [address, gateway]) {
    if (ip !== undefined && !/^\d{1,3}(\.\d{1,3}){3}$/.test(ip))
      throw new InitConfigError(`${ip} is not an IPv4 address`);
  }
  return `${mac} ${address}/${prefix} ${gateway ?? '-'} ${mtu ?? 0}`;
}
