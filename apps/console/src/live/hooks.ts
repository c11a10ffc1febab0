import { useEffect, useReducer, useRef, useState } from 'preact/hooks';
import type { FleetStore } from '../model/fleet.store';
import { formatRoute, parseRoute, type Route } from '../model/route';

/** Draws again after changes of the fleet, a few times a second at most and never while the page is hidden. */
export function useFleetVersion(store: FleetStore, minimumMs = 120): number {
  const [version, setVersion] = useState(store.version);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let frame = 0;
    let scheduled = false;
    let drawnAt = -Infinity;
    const draw = (): void => {
      scheduled = false;
      drawnAt = performance.now();
      setVersion(store.version);
    };
    const schedule = (): void => {
      if (scheduled) return;
      scheduled = true;
      timer = setTimeout(
        () => (frame = requestAnimationFrame(draw)),
        Math.max(0, minimumMs - (performance.now() - drawnAt)),
      );
    };
    const unsubscribe = store.subscribe(schedule);
    setVersion(store.version);
    return () => {
      unsubscribe();
      clearTimeout(timer);
      cancelAnimationFrame(frame);
    };
  }, [store, minimumMs]);
  return version;
}

/** The time, drawn anew every `everyMs`. */
export function useNow(everyMs = 1_000): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => document.hidden || setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

const ROUTE_CHANGED = 'volley-route';

/** Goes to a view; `replace` leaves no step behind in the browser's history. */
export function navigate(route: Route, replace = false): void {
  const hash = formatRoute(route);
  if (replace) history.replaceState(null, '', hash);
  else history.pushState(null, '', hash);
  dispatchEvent(new Event(ROUTE_CHANGED));
}

export function useRoute(): Route {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  useEffect(() => {
    const update = (): void => setRoute(parseRoute(location.hash));
    const names = ['hashchange', 'popstate', ROUTE_CHANGED];
    for (const name of names) addEventListener(name, update);
    update();
    return () => names.forEach((name) => removeEventListener(name, update));
  }, []);
  return route;
}

/** Something read from the gateway: what was read last stays while it is read anew. */
export interface Loaded<T> {
  value: T | null;
  error: Error | null;
  loading: boolean;
  reload(): void;
}

/** Reads again whenever `key` changes, but leaves at least `minimumMs` between two readings; null reads nothing. */
export function useLoaded<T>(key: string | null, load: (signal: AbortSignal) => Promise<T>, minimumMs = 0): Loaded<T> {
  const [state, setState] = useState<{ value: T | null; error: Error | null; loading: boolean }>({
    value: null,
    error: null,
    loading: key !== null,
  });
  const [turn, reload] = useReducer((count: number, _: void) => count + 1, 0);
  const latest = useRef(load);
  latest.current = load;
  const startedAt = useRef(-Infinity);
  useEffect(() => {
    if (key === null) return;
    const controller = new AbortController();
    setState((before) => ({ ...before, loading: true }));
    const timer = setTimeout(
      () => {
        startedAt.current = performance.now();
        latest.current(controller.signal).then(
          (value) => controller.signal.aborted || setState({ value, error: null, loading: false }),
          (error: Error) => controller.signal.aborted || setState((before) => ({ ...before, error, loading: false })),
        );
      },
      Math.max(0, startedAt.current + minimumMs - performance.now()),
    );
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [key, turn, minimumMs]);
  return { ...state, reload: () => reload() };
}
