import { agentEnvironment } from './agent-environment';

describe('the settings of the agent on an emulated host', () => {
  const options = {
    hostId: 'emulated-x',
    natsPorts: [4_333],
    natsTls: false,
    memoryMiB: 2_048,
    overcommit: { cpu: 4, memory: 1.5 },
  };

  it('lead to the control plane, by way of a file for the token', () => {
    expect(agentEnvironment(options, {})).toMatchObject({
      VOLLEY_HOST_ID: 'emulated-x',
      VOLLEY_NATS_URL: 'nats://10.0.2.2:4333',
      VOLLEY_NATS_NKEY_FILE: '/etc/volley/nats.nk',
      VOLLEY_LABELS: 'emulated=true',
      VOLLEY_SLOTS: '16',
      VOLLEY_OVERCOMMIT_CPU: '4',
    });
  });

  it('can be changed for it alone; what this machine is told is not for it', () => {
    const given = { VOLLEY_SLOTS: '900', VOLLEY_EMULATED_LOG_LEVEL: 'debug', VOLLEY_NATS_TOKEN: 'secret', HOME: '/x' };
    const environment = agentEnvironment(options, given);
    expect(environment).toMatchObject({ VOLLEY_SLOTS: '16', VOLLEY_LOG_LEVEL: 'debug' });
    expect(Object.values(environment)).not.toContain('secret');
  });
});
