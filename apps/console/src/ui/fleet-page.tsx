import { useEffect, useMemo, useState } from 'preact/hooks';
import { navigate, useFleetVersion } from '../live/hooks';
import { countStates, queryMicrovms, type MicrovmQuery } from '../model/microvm-query';
import { parseRoute } from '../model/route';
import { useConsole } from './console-context';
import { HostTable } from './host-table';
import { MicrovmFilters } from './microvm-filters';
import { MicrovmTable } from './microvm-table';
import { SelectionBar } from './selection-bar';
import { SummaryStrip } from './summary-strip';

/** The fleet at a glance, its hosts, and its microVMs as filtered. */
export function FleetPage({ query }: { query: MicrovmQuery }) {
  const { live, client } = useConsole();
  const { store } = live;
  const version = useFleetVersion(store);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());

  useEffect(() => {
    document.title = 'Fleet · Volley';
  }, []);

  const asksForDeleted = query.states.includes('deleted');
  useEffect(() => {
    if (!asksForDeleted) return;
    const controller = new AbortController();
    void (async () => {
      try {
        for await (const page of client.deletedMicrovms(controller.signal))
          page.forEach((one) => store.putMicrovm(one));
      } catch {
        // Those seen ending by this page are shown anyway; the connection badge tells when the gateway is away.
      }
    })();
    return () => controller.abort();
  }, [asksForDeleted, client, store]);

  const counts = useMemo(() => countStates(store.microvms.values()), [store, version]);
  const rows = useMemo(
    () => queryMicrovms(asksForDeleted ? both(store.microvms, store.deleted) : store.microvms.values(), query),
    [store, version, query, asksForDeleted],
  );
  const chosen = useMemo(() => rows.filter((microvm) => selected.has(microvm.id)), [rows, selected]);
  const setQuery = (next: Partial<MicrovmQuery>, replace = false): void => {
    // By the address and not by what is drawn: for a moment this page still is while a link already leads elsewhere.
    const route = parseRoute(location.hash);
    if (route.page === 'fleet') navigate({ ...route, query: { ...route.query, ...next } }, replace);
  };

  return (
    <main class="fleet">
      <h1 class="hidden">Fleet</h1>
      <SummaryStrip store={store} counts={counts} densityProblem={live.densityProblem} />
      <HostTable store={store} filteredTo={query.host} onFilter={(host) => setQuery({ host })} />
      <section class="panel microvms" aria-labelledby="microvms-title">
        <div class="panel-head">
          <h2 id="microvms-title">MicroVMs</h2>
          <MicrovmFilters
            query={query}
            counts={counts}
            deleted={store.deleted.size}
            shown={rows.length}
            onChange={setQuery}
            hosts={[...store.hosts.keys()].sort()}
          />
        </div>
        {chosen.length > 0 && <SelectionBar microvms={chosen} onClear={() => setSelected(new Set())} />}
        <MicrovmTable
          rows={rows}
          query={query}
          selected={selected}
          onSelect={setSelected}
          onSort={(sort, descending) => setQuery({ sort, descending }, true)}
          complete={store.complete}
          empty={store.microvms.size === 0}
        />
      </section>
    </main>
  );
}

function* both<T>(first: ReadonlyMap<string, T>, second: ReadonlyMap<string, T>): Generator<T> {
  yield* first.values();
  yield* second.values();
}
