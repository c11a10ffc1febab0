import { bootService, natsOptions, type RunningService } from '#bus';
import type { GatewayConfig } from './gateway.config';
import { configureHttp, gatewayAdapter } from './gateway.http';
import { GatewayModule } from './gateway.module';
import { tlsFiles } from './http/tls-files';
import { GatewayMetrics } from './metrics/gateway-metrics';
import { OperatorToken } from './operator-token';

/**
 * Starts the gateway in this process.
 *
 * @throws TokenFileError when the operator token cannot be used; ConfigError when keys or certificates cannot.
 */
export async function startGateway(config: GatewayConfig): Promise<RunningService> {
  const token = await OperatorToken.fromFile(config.tokenFile);
  const tls = tlsFiles(config.tlsCertFile, config.tlsKeyFile);
  const metrics = new GatewayMetrics();
  return bootService({
    name: 'gateway',
    nats: natsOptions(config, 'gateway'),
    logLevel: config.logLevel,
    module: (context) =>
      GatewayModule.open(context, {
        token,
        consoleDir: config.consoleDir,
        metrics,
        maxUploadBytes: config.maxUploadMib * 2 ** 20,
      }),
    http: {
      ...config.listen,
      adapter: gatewayAdapter(tls),
      configure: (app, { logger, shutdown }) =>
        configureHttp(app, { metricsOpen: config.metricsOpen, logger, metrics, shutdown }),
    },
  });
}
