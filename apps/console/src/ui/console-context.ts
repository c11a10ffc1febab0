import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { HostVerb, MicrovmVerb, Client } from '../api/client';
import type { Host, Microvm } from '#protocol';
import type { LiveFleet } from '../live/live-fleet';

/** What every part of the page may use. */
export interface ConsoleContext {
  client: Client;
  live: LiveFleet;
  /** Ids of microVMs and hosts of which a command is under way. */
  busy: ReadonlySet<string>;
  /** Asks first where something can be lost; tells the outcome itself. */
  command(microvms: readonly Microvm[], verb: MicrovmVerb): Promise<void>;
  hostCommand(host: Host, verb: HostVerb): Promise<void>;
  notify(notice: Notice): void;
  openCreate(): void;
}

export interface Notice {
  kind: 'done' | 'problem';
  title: string;
  detail?: string | undefined;
  /** Where to look. */
  href?: string | undefined;
}

const Context = createContext<ConsoleContext | null>(null);
export const ConsoleProvider = Context.Provider;

export function useConsole(): ConsoleContext {
  return useContext(Context)!;
}
