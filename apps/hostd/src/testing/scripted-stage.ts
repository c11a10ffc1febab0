import { rmSync } from 'node:fs';
import type { HostCommand } from '../microvms/command-rules';
import { AgentUnderTest, type AgentOptions } from './agent-under-test';
import { ScriptedHost } from './scripted-host';
import { scratchFolder } from './scratch-folder';
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
  let directory: string;
  let host: ScriptedHost;
  let agent: AgentUnderTest;

  beforeEach(() => {
    directory = scratchFolder('volley-hostd-');
    host = new ScriptedHost();
    agent = new AgentUnderTest(directory, host);
  });
  afterEach(() => {
    agent.crash();
    expect(host.violations).toEqual([]);
    rmSync(directory, { recursive: true, force: true });
  });

  const replaceAgent = (options?: AgentOptions): void => {
    agent.crash();
    agent = new AgentUnderTest(directory, host, options);
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
