export { AgentHost, type AgentHostOptions } from './agent-host';
export { agentFiles, INSTALLED_AT } from './agent-files';
export { agentSystem, type AgentSystem, type AgentSystemOptions } from './agent-system';
export { EmulatedHost, SCRIPT_ENDED } from './emulated-host';
export type { EmulatedHostOptions } from './emulated-host.options';
export {
  fetchEmulatedHostTools,
  findEmulatedHostTools,
  type Availability,
  type EmulatedHostTools,
} from './emulated-host.requirements';
export { EmulatedHostError } from './errors';
export { startMirrorHost, type MirrorHostOptions } from './mirror-host';
export { MIRROR_READY } from './mirror-init';
export { makeExt4Disk, writeExt4Image } from './ext4-image';
export { findProgram } from './find-program';
export { busyboxFileSystem } from './host-file-system';
export { programFiles } from './program-files';
export { THIS_MACHINE, type EmulatedDisk, type EmulatedMachine } from './qemu-arguments';
