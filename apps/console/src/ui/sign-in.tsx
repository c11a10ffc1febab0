import { useEffect, useRef, useState } from 'preact/hooks';
import { Client } from '../api/client';
import { Problem } from '../api/problem';
import { Mark } from './mark';

interface Props {
  base: string;
  /** Why the operator is here again. */
  notice: string | null;
  onSignIn(token: string): void;
}

/** Asks for a token, an operator's or a tenant's, and tries it before it is kept. */
export function SignIn({ base, notice, onSignIn }: Props) {
  const [token, setToken] = useState('');
  const [error, setError] = useState(notice);
  const [busy, setBusy] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    document.title = 'Sign in · Volley';
    field.current?.focus();
  }, []);

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const trimmed = token.trim();
    const wrong = !trimmed
      ? 'Paste the operator token first.'
      : !/^[\x21-\x7e]+$/.test(trimmed)
        ? 'A token is one word.'
        : null;
    if (wrong) {
      setError(wrong);
      field.current?.focus();
      return;
    }
    setBusy(true);
    setError(null);
    try {
      await new Client(base, trimmed).microvms().next(); // what every role may read
      onSignIn(trimmed);
    } catch (problem) {
      const refused = problem instanceof Problem && problem.status === 401;
      setError(
        refused
          ? 'This is not a token of this fleet, or not any more (401). Compare it with the file named below.'
          : `${problem instanceof Problem ? problem.title : 'It did not work'}: ${(problem as Error).message}`,
      );
      setBusy(false);
      field.current?.select();
    }
  };

  return (
    <main class="sign-in">
      <form onSubmit={submit} aria-labelledby="sign-in-title" noValidate>
        <h1 id="sign-in-title">
          <Mark /> Volley
        </h1>
        <label for="token">Operator token</label>
        <input
          id="token"
          ref={field}
          type="password"
          autocomplete="off"
          spellcheck={false}
          value={token}
          onInput={(event) => setToken(event.currentTarget.value)}
          aria-describedby="token-help token-error"
          aria-invalid={error !== null}
          disabled={busy}
        />
        <p id="token-error" class="field-error" role="alert">
          {error}
        </p>
        <button type="submit" class="primary" disabled={busy}>
          {busy ? 'Trying…' : 'Sign in'}
        </button>
        <div id="token-help" class="help">
          <p>
            The token lies in the file <code>operator.token</code> of the data folder, readable by its owner alone;{' '}
            <code>./volley up</code> prints its place. With the default folder:
          </p>
          <pre>cat .volley/data/operator.token</pre>
          <p>It is kept for this tab only, until the tab is closed.</p>
        </div>
      </form>
    </main>
  );
}
