export { KernelUnavailableError } from './errors';
export { kernelModules, type KernelModule } from './kernel-modules';
export {
  cachedKernelPackage,
  describeKernelPackage,
  fetchKernelPackage,
  fetchKernelPackageSync,
  unpackKernelPackage,
  type KernelFlavour,
  type KernelPackage,
  type KernelPackageOptions,
} from './kernel-package';
