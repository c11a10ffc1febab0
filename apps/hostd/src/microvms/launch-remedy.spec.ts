import { VmmLaunchError } from '#microvm';
import { withRemedy } from './launch-remedy';

it.each<[Error, RegExp]>([
  [new VmmLaunchError('cannot open /dev/kvm: Too many open files', 'EMFILE'), /Too many open files; .*ulimit -n/],
  [new Error('/usr/sbin/ip could not be run: spawn EMFILE'), /spawn EMFILE; .*ulimit -n/],
  [new Error('Too many open files in system'), /in system; .*fs\.file-max/],
  [
    new VmmLaunchError('the kernel refused a new process (clone3): Resource temporarily unavailable', 'EAGAIN'),
    /clone3.*; .*pids\.max/,
  ],
  [new VmmLaunchError('cannot map', 'ENOMEM'), /cannot map; .*VOLLEY_RESERVE_MIB/],
  [Object.assign(new Error('mkdir failed'), { code: 'ENOSPC' }), /mkdir failed; .*VOLLEY_RUN_DIR/],
  [new VmmLaunchError('cannot open the tap vt0: Inappropriate ioctl', 'ENOTTY'), /vt0: .*; .*module tun/],
])('%s says what to do', (error, message) => {
  expect(withRemedy(error)).toMatch(message);
});

it('what nobody knows a remedy for is said as it is', () => {
  expect(withRemedy(new VmmLaunchError('the kernel x is empty'))).toBe('the kernel x is empty');
});
