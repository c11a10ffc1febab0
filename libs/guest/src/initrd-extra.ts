import { cpioArchive } from '#cpio';
import { encodeInitConfig, type InitConfig } from './init-config';

/** Where init looks for its configuration. */
export const INIT_CONFIG_PATH = '/volley/config';

/**
 * The second archive of a microVM's initial ram disk: the part that differs from microVM to microVM.
 *
 * @throws InitConfigError
 */
export function initrdExtra(config: InitConfig): Buffer {
  // It may hold secrets of the environment; init is root.
  return cpioArchive([{ path: INIT_CONFIG_PATH, mode: 0o400, content: encodeInitConfig(config) }]);
}
