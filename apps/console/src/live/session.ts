const KEY = 'volley.operatorToken';

/** The operator token of this tab. It is forgotten when the tab is closed and never leaves for other places. */
export const session = {
  get token(): string | null {
    try {
      return sessionStorage.getItem(KEY);
    } catch {
      return null;
    }
  },
  set token(value: string | null) {
    try {
      if (value === null) sessionStorage.removeItem(KEY);
      else sessionStorage.setItem(KEY, value);
    } catch {
      // A browser that stores nothing: the token lives as long as the page.
    }
  },
};
