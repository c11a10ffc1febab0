/** Folds events into a state: the one way in which a history becomes a picture of now (or, with `until`, of then). */
export function fold<State, Event>(
  evolve: (state: State, event: Event) => State,
  initial: State,
  events: Iterable<Event>,
  until: (event: Event) => boolean = () => false,
): State {
  let state = initial;
  for (const event of events) {
    if (until(event)) break;
    state = evolve(state, event);
  }
  return state;
}
