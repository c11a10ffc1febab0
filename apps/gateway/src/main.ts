import { ConfigError, readConfig } from '#bus';
import { startGateway } from './gateway';
import { GatewayConfig } from './gateway.config';
import { TokenFileError } from './operator-token';

async function main(): Promise<void> {
  try {
    await startGateway(readConfig(GatewayConfig));
  } catch (error) {
    if (!(error instanceof ConfigError || error instanceof TokenFileError)) throw error;
    process.stderr.write(`volley-gateway: ${error.message}\n`);
    process.exit(2);
  }
}

void main();
