import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { Host, Microvm } from '#protocol';
import type { Client, HostVerb, MicrovmVerb } from '../api/client';
import { Problem } from '../api/problem';
import { useRoute } from '../live/hooks';
import { LiveFleet } from '../live/live-fleet';
import { plural } from '../model/format';
import { MICROVM_ACTIONS } from '../model/microvm-actions';
import { EVERYTHING } from '../model/microvm-query';
import { formatRoute } from '../model/route';
import { ConfirmDialog, type Question } from './confirm-dialog';
import { ConnectionBadge } from './connection-badge';
import { ConsoleProvider, type ConsoleContext } from './console-context';
import { CreateDialog } from './create-dialog';
import { FleetPage } from './fleet-page';
import { Mark } from './mark';
import { HostPage } from './host-page';
import { MicrovmPage } from './microvm-page';
import { Notices, useNotices } from './notices';
import { nameOf, titleOf } from './wording';

interface Props {
  client: Client;
  onSignOut(why: string | null): void;
}

/** How many commands of one request for many are under way at a time. */
const IN_FLIGHT = 8;

/** The signed-in console. */
export function Workspace({ client, onSignOut }: Props) {
  const live = useMemo(
    () =>
      new LiveFleet(client, () =>
        onSignOut(
          'The gateway does not accept the token any more (401). Was the fleet set up anew? Paste its present token.',
        ),
      ),
    [client, onSignOut],
  );
  useEffect(() => {
    live.start();
    return () => live.stop();
  }, [live]);

  const route = useRoute();
  const { notices, notify, dismiss } = useNotices();
  const [question, setQuestion] = useState<Question | null>(null);
  const [creating, setCreating] = useState(false);
  const [busy, setBusy] = useState<ReadonlySet<string>>(new Set());
  const running = useRef(new Map<string, number>());

  const whileBusy = useCallback(async <T,>(id: string, work: () => Promise<T>): Promise<T> => {
    const counts = running.current;
    counts.set(id, (counts.get(id) ?? 0) + 1);
    setBusy(new Set(counts.keys()));
    try {
      return await work();
    } finally {
      const left = (counts.get(id) ?? 1) - 1;
      if (left > 0) counts.set(id, left);
      else counts.delete(id);
      setBusy(new Set(counts.keys()));
    }
  }, []);

  const ask = useCallback(
    (question: Omit<Question, 'answer'>) =>
      new Promise<boolean>((resolve) =>
        setQuestion({
          ...question,
          answer: (yes) => {
            setQuestion(null);
            resolve(yes);
          },
        }),
      ),
    [],
  );

  const command = useCallback(
    async (microvms: readonly Microvm[], verb: MicrovmVerb) => {
      const { label, confirm } = MICROVM_ACTIONS[verb];
      const one = microvms.length === 1 ? microvms[0]! : null;
      const whom = one ? nameOf(one) : plural(microvms.length, 'microVM');
      if (confirm !== null || microvms.length > 20) {
        const agreed = await ask({
          title: `${label} ${whom}?`,
          detail: confirm ?? '',
          items: microvms.map((microvm) => ({ id: microvm.id, label: nameOf(microvm), note: microvm.state })),
          yes: one ? label : `${label} ${microvms.length}`,
          danger: confirm !== null,
        });
        if (!agreed) return;
      }
      const failures: { microvm: Microvm; problem: Error }[] = [];
      const queue = [...microvms];
      const work = async (): Promise<void> => {
        for (let microvm = queue.shift(); microvm; microvm = queue.shift()) {
          const { id } = microvm;
          try {
            live.store.putMicrovm(await whileBusy(id, () => client.command(id, verb)));
          } catch (problem) {
            failures.push({ microvm, problem: problem as Error });
            if (problem instanceof Problem && problem.status === 401) return onSignOut('The token was refused (401).');
          }
        }
      };
      await Promise.all(Array.from({ length: Math.min(IN_FLIGHT, microvms.length) }, work));
      const [first] = failures;
      if (first) {
        notify({
          kind: 'problem',
          title: `${label} ${one ? whom : `failed for ${failures.length} of ${whom}`}: ${titleOf(first.problem)}`,
          detail: `${one ? '' : `${nameOf(first.microvm)}: `}${first.problem.message}`,
        });
      } else if (!one) {
        notify({ kind: 'done', title: `${label}: asked ${whom}` });
      }
    },
    [ask, client, live, notify, onSignOut, whileBusy],
  );

  const hostCommand = useCallback(
    async (host: Host, verb: HostVerb) => {
      if (verb === 'retire') {
        const agreed = await ask({
          title: `Retire host ${host.id}?`,
          detail:
            'It is declared gone: what was being deleted there counts as deleted. Only for a machine that does not come back.',
          items: [],
          yes: 'Retire',
          danger: true,
        });
        if (!agreed) return;
      }
      try {
        live.store.putHost(await whileBusy(host.id, () => client.hostCommand(host.id, verb)));
      } catch (problem) {
        notify({
          kind: 'problem',
          title: `${verb} ${host.id}: ${titleOf(problem)}`,
          detail: (problem as Error).message,
        });
      }
    },
    [ask, client, live, notify, whileBusy],
  );

  const openCreate = useCallback(() => setCreating(true), []);
  const context = useMemo<ConsoleContext>(
    () => ({ client, live, busy, command, hostCommand, notify, openCreate }),
    [client, live, busy, command, hostCommand, notify, openCreate],
  );

  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (event.target instanceof HTMLElement && event.target.closest('input, textarea, select, dialog')) return;
      if (event.key === 'n') setCreating(true);
      else if (event.key === '/') document.getElementById('search')?.focus();
      else return;
      event.preventDefault();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);

  return (
    <ConsoleProvider value={context}>
      <header class="top-bar">
        <a class="brand" href={formatRoute({ page: 'fleet', query: EVERYTHING })}>
          <Mark /> Volley
        </a>
        <ConnectionBadge live={live} />
        <span class="grow" />
        <button type="button" class="primary" onClick={openCreate} title="Shortcut: n">
          New microVM
        </button>
        <button type="button" onClick={() => onSignOut(null)}>
          Sign out
        </button>
      </header>
      {route.page === 'fleet' ? (
        <FleetPage query={route.query} />
      ) : route.page === 'host' ? (
        <HostPage key={route.id} id={route.id} />
      ) : (
        <MicrovmPage key={route.id} id={route.id} at={route.at} />
      )}
      {creating && <CreateDialog onClose={() => setCreating(false)} />}
      {question && <ConfirmDialog question={question} />}
      <Notices notices={notices} onDismiss={dismiss} />
    </ConsoleProvider>
  );
}
