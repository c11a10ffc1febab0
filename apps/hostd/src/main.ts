import 'reflect-metadata';
import { readFileSync } from 'node:fs';
import pino from 'pino';
import { bootService, ConfigError, readConfig } from '#bus';
import { AgentConfig } from './host/agent-config';
import { HostAgent } from './host-agent';
import { HostdModule } from './hostd.module';

/** What the process manager sees when the settings or the host directory are wrong: trying again will not help. */
const EXIT_CONFIG = 78;

async function main(): Promise<void> {
  let config: AgentConfig;
  let token: string | undefined;
  try {
    config = readConfig(AgentConfig);
    token = natsTokenOf(config);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`volley-hostd: ${error.message}\n`);
    process.exit(EXIT_CONFIG);
  }
  const log = pino({ level: config.logLevel, base: { service: 'hostd', pid: process.pid } });
  const fatal = (error: Error): void => {
    log.fatal({ err: error }, `the host agent cannot go on and ends; microVMs go on running: ${error.message}`);
    process.exit(1);
  };
  // microVMs are taken over, and fenced if need be, whether or not NATS can be reached.
  const agent = await HostAgent.start(config, log, fatal).catch((error: Error) => {
    log.fatal({ err: error }, `could not start: ${error.message}`);
    process.exit(1);
  });
  await bootService({
    name: `hostd ${agent.hostId}`,
    module: () => HostdModule.of(agent),
    nats: {
      servers: config.natsUrl.split(','),
      ...(token === undefined ? {} : { token }),
    },
    bus: { values: { hostId: agent.hostId } },
    logLevel: config.logLevel,
  });
}

function natsTokenOf({ natsToken, natsTokenFile }: AgentConfig): string | undefined {
  if (natsTokenFile === undefined) return natsToken;
  try {
    return readFileSync(natsTokenFile, 'utf8').trim();
  } catch (error) {
    throw new ConfigError(
      `wrong settings:\n  --nats-token-file or VOLLEY_NATS_TOKEN_FILE: ${(error as Error).message}`,
    );
  }
}

void main();
