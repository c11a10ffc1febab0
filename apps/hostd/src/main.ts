import 'reflect-metadata';
import pino from 'pino';
import { bootService, natsOptions, orExit, readConfig } from '#bus';
import { AgentConfig } from './host/agent-config';
import { startFence } from './fence/start-fence';
import { takeLastWhenOutOfMemory } from './guards/oom-preference';
import { HostAgent } from './host-agent';
import { HostdModule } from './hostd.module';

async function main(): Promise<void> {
  const { config, nats } = orExit('hostd', () => {
    const config = readConfig(AgentConfig);
    return { config, nats: natsOptions(config) };
  });
  const log = pino({ level: config.logLevel, base: { service: 'hostd', pid: process.pid } });
  const fatal = (error: Error): void => {
    log.fatal({ err: error }, `the host agent cannot go on and ends; microVMs go on running: ${error.message}`);
    process.exit(1);
  };
  const exposed = takeLastWhenOutOfMemory();
  if (exposed !== undefined) {
    const remedy = 'give it CAP_SYS_RESOURCE, or OOMScoreAdjust=-900 in its unit';
    log.info(`should memory run out, the kernel may take this agent before its guests (${exposed}): ${remedy}`);
  }
  // microVMs are taken over, and fenced if need be, whether or not NATS can be reached.
  const agent = await HostAgent.start(config, log, fatal).catch((error: Error) => {
    log.fatal({ err: error }, `could not start: ${error.message}`);
    process.exit(1);
  });
  startFence(agent.runRoot, log);
  await bootService({
    name: `hostd ${agent.hostId}`,
    module: () => HostdModule.of(agent),
    nats: { ...nats, party: { hostId: agent.hostId } },
    bus: { values: { hostId: agent.hostId } },
    logLevel: config.logLevel,
  });
}

void main();
