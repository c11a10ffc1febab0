export { EmulatedHost } from './emulated-host';
export { THIS_MACHINE, type EmulatedHostOptions } from './emulated-host.options';
export { findEmulatedHostTools, type Availability, type EmulatedHostTools } from './emulated-host.requirements';
export { EmulatedHostError } from './errors';
export { busyboxFileSystem } from './host-file-system';
export { programFiles } from './program-files';
