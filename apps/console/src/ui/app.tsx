import { useCallback, useMemo, useState } from 'preact/hooks';
import { Client } from '../api/client';
import { session } from '../live/session';
import { SignIn } from './sign-in';
import { Workspace } from './workspace';

/** Where the page came from without the part that names the view; the API is beside it. */
const base = new URL('.', location.href).href;

export function App() {
  const [token, setToken] = useState(session.token);
  const [notice, setNotice] = useState<string | null>(null);
  const client = useMemo(() => (token === null ? null : new Client(base, token)), [token]);

  const signIn = useCallback((accepted: string) => {
    session.token = accepted;
    setNotice(null);
    setToken(accepted);
  }, []);
  const signOut = useCallback((why: string | null) => {
    session.token = null;
    setNotice(why);
    setToken(null);
  }, []);

  if (!client) return <SignIn base={base} notice={notice} onSignIn={signIn} />;
  return <Workspace key={token} client={client} onSignOut={signOut} />;
}
