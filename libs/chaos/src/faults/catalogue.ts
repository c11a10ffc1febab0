import { SECOND_HOSTD } from '../fleet/chaos-fleet';
import { clockJump } from './clock-faults';
import { diskFull, powerLoss, tornTail } from './disk-faults';
import type { FaultKind } from './fault';
import { delay, disorder, leaderLoss, partition } from './network-faults';
import { freeze, freezeVmms, kill, killVmms } from './process-faults';

/** Every fault that a run may draw, by the name under which it can be asked for. */
export const FAULTS: Readonly<Record<string, readonly FaultKind[]>> = {
  'kill-controller': [kill('volley-controller'), kill('volley-controller-2')],
  'kill-placement': [kill('volley-placement')],
  'kill-gateway': [kill('volley-gateway')],
  'kill-nats': [kill('nats-server')],
  'leader-loss': [leaderLoss],
  'kill-hostd': [kill('volley-hostd'), kill(SECOND_HOSTD)],
  'kill-vmm': [killVmms],
  'freeze-controller': [freeze('volley-controller'), freeze('volley-controller-2')],
  'freeze-placement': [freeze('volley-placement', 0.1)],
  'freeze-gateway': [freeze('volley-gateway', 0.1)],
  'freeze-nats': [freeze('nats-server')],
  'freeze-hostd': [freeze('volley-hostd'), freeze(SECOND_HOSTD)],
  'freeze-vmm': [freezeVmms],
  partition: [partition],
  disorder: [disorder],
  delay: [delay],
  clock: [
    clockJump('volley-controller'),
    clockJump('volley-controller-2'),
    clockJump('volley-placement'),
    clockJump('volley-gateway'),
    clockJump('volley-hostd'),
    clockJump(SECOND_HOSTD),
  ],
  'disk-full': [diskFull],
  'torn-journal': [tornTail],
  'power-loss': [powerLoss],
};
