import 'reflect-metadata';
import pino from 'pino';
import { AgentConfig } from '../host/agent-config';
import { HostAgent } from '../host-agent';
import type { HostCommand } from '../microvms/command-rules';
import type { Tuning } from '#protocol';

/** What a test may ask of an agent that has no bus. */
export type BareRequest =
  | { ask: 'command'; command: HostCommand }
  | { ask: 'tune'; microvmId: string; tuning: Tuning }
  | { ask: 'facts' }
  | { ask: 'console'; microvmId: string }
  | { ask: 'description' }
  | { ask: 'ready' }
  | { ask: 'removeTemplate'; templateId: string }
  | { ask: 'audit' }
  | { ask: 'stop' };

/** A host agent without NATS, run by tests in a network namespace of their own and spoken to over the IPC channel. */
async function main(): Promise<void> {
  const config = AgentConfig.parse(JSON.parse(process.env['VOLLEY_TEST_CONFIG']!));
  const log = pino({ level: 'warn' }, pino.destination(2));
  const agent = await HostAgent.start(config, log, (error) => {
    throw error;
  });
  agent.lease.renew(agent.lease.now(), 3_600_000);
  const answer = async (request: BareRequest): Promise<unknown> => {
    switch (request.ask) {
      case 'command':
        return agent.starts.command(request.command);
      case 'tune':
        return agent.tuner.tune(request.microvmId, request.tuning);
      case 'facts':
        return [...agent.chronicle.state.outbox.values()].map(({ microvmId, fact }) => ({ microvmId, ...fact }));
      case 'console':
        return (await agent.consoleLog.read(request.microvmId, 65_536, undefined)).text;
      case 'description':
        return agent.description;
      case 'ready':
        return { shells: agent.slots.shells, free: agent.slots.free };
      case 'removeTemplate':
        return agent.templates.remove(request.templateId);
      case 'audit':
        await agent.reclaim();
        return agent.leaks;
      case 'stop':
        return agent.stop();
    }
  };
  process.on('message', ({ id, request }: { id: number; request: BareRequest }) => {
    answer(request).then(
      (result) => process.send!({ id, result: result ?? null }),
      (error: Error) => process.send!({ id, error: error.message }),
    );
  });
  process.on('disconnect', () => process.exit(0));
  process.send!({ id: 0 });
}

void main();
