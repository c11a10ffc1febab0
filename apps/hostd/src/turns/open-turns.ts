import type { Logger } from 'pino';
import { stepBack, ThreadScheduler } from '#microvm';
import { classOf, type MicrovmSpec } from '#protocol';
import type { AgentConfig } from '../host/agent-config';
import { ownAffinity, VcpuTurns } from './vcpu-turns';

/** Puts this agent behind the guaranteed, and gives vCPUs their turns; undefined where that is switched off. What cannot be done is said. */
export function openTurns(
  { turns }: Pick<AgentConfig, 'turns'>,
  specOf: (microvmId: string) => MicrovmSpec | undefined,
  log: Logger,
): VcpuTurns | undefined {
  if (turns === 'kernel') return undefined;
  const scheduler = new ThreadScheduler();
  try {
    stepBack(scheduler);
    if (scheduler.read(process.pid).sliceMs === 0)
      log.info('vCPUs have CPUs by class, but no turns: those need Linux 6.12 or newer');
  } catch (error) {
    log.warn({ err: error as Error }, 'the agent competes with guaranteed vCPUs for CPUs as any other process does');
  }
  const classIn = (id: string) => {
    const spec = specOf(id);
    return spec && classOf(spec);
  };
  return new VcpuTurns({ scheduler, cpus: ownAffinity(), classOf: classIn, log });
}
