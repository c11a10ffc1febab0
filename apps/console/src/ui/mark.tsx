const CELLS = [
  [2, 3],
  [9.5, 3],
  [17, 3],
  [5.75, 10],
  [13.25, 10],
  [9.5, 17],
] as const;

/** The mark of the house: six microVMs in flight. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 24 24" width="20" height="20" aria-hidden="true">
      {CELLS.map(([x, y]) => (
        <rect key={`${x},${y}`} x={x} y={y} width="5" height="5" rx="1" fill="currentColor" />
      ))}
    </svg>
  );
}
