import { makeTmpfsDirectory } from '../../../../test/support/kvm';
import type { HostCommand } from '../microvms/command-rules';
import { AgentUnderTest, type AgentOptions } from './agent-under-test';
import { ScriptedHost } from './scripted-host';
import { until } from './waits';

/** A scripted host with an agent on it. */
export interface ScriptedStage {
  readonly host: ScriptedHost;
  /** The one that lives now. */
  readonly agent: AgentUnderTest;
  /** To the agent that lives now. */
  command(command: HostCommand): ReturnType<AgentUnderTest['manager']['command']>;
  /** Waits until the journal has this microVM in this phase. */
  at(id: string, phase: string): Promise<void>;
  /** Kills the agent, and puts another one in its place that has not looked yet at what it finds. */
  replaceAgent(options?: AgentOptions): void;
  /** Kills the agent; the next one has recovered what it finds. */
  restart(options?: AgentOptions): Promise<void>;
}

/** For each test a stage of its own; after each, nothing may have happened on it that never may. */
export function scriptedStage(): ScriptedStage {
  // On tmpfs: journals are opened over and over, and syncing them to a disk is not what is tested.
  let directory: ReturnType<typeof makeTmpfsDirectory>;
  let host: ScriptedHost;
  let agent: AgentUnderTest;

  beforeEach(() => {
    directory = makeTmpfsDirectory('volley-hostd-');
    host = new ScriptedHost();
    agent = new AgentUnderTest(directory.path, host);
  });
  afterEach(() => {
    agent.crash();
    expect(host.violations).toEqual([]);
    directory.remove();
  });

  const replaceAgent = (options?: AgentOptions): void => {
    agent.crash();
    agent = new AgentUnderTest(directory.path, host, options);
  };
  return {
    get host() {
      return host;
    },
    get agent() {
      return agent;
    },
    command: (command) => agent.manager.command(command),
    at: (id, phase) => until(() => agent.phase(id) === phase, `${id} ${phase}`),
    replaceAgent,
    async restart(options) {
      replaceAgent(options);
      await agent.manager.recover();
    },
  };
}
