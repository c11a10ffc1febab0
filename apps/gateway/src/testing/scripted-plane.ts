import type { NatsConnection } from 'nats';
import { connectNats } from '#bus';
import { startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { gatewayUnderTest, type GatewayUnderTest } from './gateway-under-test';
import { ScriptedController } from './scripted-controller';

/** A gateway with what it stands between: a nats-server, and a controller that does what a test says. */
export interface ScriptedPlane {
  server: NatsServer;
  /** The controller's connection. */
  nc: NatsConnection;
  controller: ScriptedController;
  gateway: GatewayUnderTest;
  close(): Promise<void>;
}

export async function scriptedPlane(): Promise<ScriptedPlane> {
  const server = await startNatsServer();
  const nc = await connectNats({ servers: server.url, name: 'scripted-controller' });
  const controller = await ScriptedController.start(nc);
  const gateway = await gatewayUnderTest(server.url);
  return {
    ...{ server, nc, controller, gateway },
    async close() {
      await gateway.close();
      await nc.close();
      await server.stop();
    },
  };
}
