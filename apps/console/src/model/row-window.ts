/** Which rows of a long table exist in the page: those in view and a few around them. */
export interface RowWindow {
  /** First row that is drawn. */
  first: number;
  /** One after the last row that is drawn. */
  end: number;
  /** Heights of the empty space that stands for the others, px. */
  above: number;
  below: number;
}

const AROUND = 8;

export function rowWindow(rows: number, rowHeight: number, scrollTop: number, viewHeight: number): RowWindow {
  // A list that shrank may leave the scroll position beyond its end for a moment.
  const top = Math.max(0, Math.min(scrollTop, rows * rowHeight - viewHeight));
  const first = Math.max(0, Math.floor(top / rowHeight) - AROUND);
  const end = Math.min(rows, Math.ceil((top + viewHeight) / rowHeight) + AROUND);
  return { first, end, above: first * rowHeight, below: (rows - end) * rowHeight };
}

/** The scroll position that brings a row into view with the least movement. */
export function scrollToRow(row: number, rowHeight: number, scrollTop: number, viewHeight: number): number {
  const top = row * rowHeight;
  if (top < scrollTop) return top;
  if (top + rowHeight > scrollTop + viewHeight) return top + rowHeight - viewHeight;
  return scrollTop;
}
