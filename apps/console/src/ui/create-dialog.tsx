import type { ComponentChildren } from 'preact';
import { useId, useRef, useState } from 'preact/hooks';
import { randomKey } from '../api/client';
import { Problem } from '../api/problem';
import { EMPTY_FORM, fieldErrors, readForm, type CreateForm, type FieldErrors } from '../model/create-form';
import { formatRoute } from '../model/route';
import { useConsole } from './console-context';
import { Dialog } from './dialog';
import { nameOf } from './wording';

/** What was typed last, for the next one. */
let remembered = EMPTY_FORM;

export function CreateDialog({ onClose }: { onClose(): void }) {
  const { client, live, notify } = useConsole();
  const [form, setForm] = useState<CreateForm>({ ...remembered, name: '' });
  const [errors, setErrors] = useState<FieldErrors>({});
  const [problem, setProblem] = useState<{ title: string; lines: string[] } | null>(null);
  const [busy, setBusy] = useState(false);
  // The same form sent again, after an answer that got lost, must not make a second microVM.
  const key = useRef({ of: '', value: '' });
  const images = new Set([...live.store.hosts.values()].flatMap((host) => host.description.images));

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    setProblem(null);
    const { spec, errors: wrong } = readForm(form);
    setErrors(wrong ?? {});
    if (!spec) return;
    const body = JSON.stringify(spec);
    if (key.current.of !== body) key.current = { of: body, value: randomKey() };
    setBusy(true);
    try {
      const microvm = await client.create(spec, key.current.value);
      live.store.putMicrovm(microvm);
      remembered = form;
      notify({
        kind: 'done',
        title: `${nameOf(microvm)} is being started`,
        href: formatRoute({ page: 'microvm', id: microvm.id, at: null }),
      });
      onClose();
    } catch (error) {
      setBusy(false);
      const { errors: beside, rest } = fieldErrors(error instanceof Problem ? error.fields : []);
      setErrors(beside);
      setProblem({
        title: error instanceof Problem ? error.title : 'It did not work',
        lines: [(error as Error).message, ...rest],
      });
    }
  };

  const text = (name: keyof CreateForm) => ({
    value: form[name],
    onInput: (event: { currentTarget: HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement }) =>
      setForm({ ...form, [name]: event.currentTarget.value }),
    disabled: busy,
    autocomplete: 'off',
    spellcheck: false,
  });

  return (
    <Dialog title="New microVM" onClose={onClose} wide>
      <form class="create" onSubmit={submit} noValidate>
        <div class="fields">
          <Field label="Image" error={errors.image}>
            {(id) => <input {...id} {...text('image')} list="images" autofocus />}
          </Field>
          <Field label="Name" error={errors.name} hint="optional">
            {(id) => <input {...id} {...text('name')} />}
          </Field>
          <Field label="Memory, MiB" error={errors.memoryMiB}>
            {(id) => <input {...id} {...text('memoryMiB')} inputMode="numeric" />}
          </Field>
          <Field label="vCPUs" error={errors.vcpus}>
            {(id) => <input {...id} {...text('vcpus')} inputMode="numeric" />}
          </Field>
          <Field label="Kernel command line" error={errors.cmdline} hint="optional" whole>
            {(id) => <input {...id} {...text('cmdline')} class="mono" />}
          </Field>
          <Field label="Labels" error={errors.labels} hint="key=value, separated by commas" whole>
            {(id) => <input {...id} {...text('labels')} />}
          </Field>
        </div>
        <details open={Boolean(errors.tenant ?? errors.ttlSeconds ?? errors.restartPolicy ?? errors.onHostLoss)}>
          <summary>Life and tenant</summary>
          <div class="fields">
            <Field label="Restart" error={errors.restartPolicy}>
              {(id) => (
                <select {...id} {...text('restartPolicy')}>
                  <option value="never">never</option>
                  <option value="on-failure">after a failure</option>
                  <option value="always">always</option>
                </select>
              )}
            </Field>
            <Field label="When its host vanishes" error={errors.onHostLoss}>
              {(id) => (
                <select {...id} {...text('onHostLoss')}>
                  <option value="keep">keep it, wait for the host</option>
                  <option value="reschedule">start it elsewhere</option>
                </select>
              )}
            </Field>
            <Field label="Delete after, s" error={errors.ttlSeconds} hint="optional">
              {(id) => <input {...id} {...text('ttlSeconds')} inputMode="numeric" />}
            </Field>
            <Field label="Tenant" error={errors.tenant} hint="default">
              {(id) => <input {...id} {...text('tenant')} />}
            </Field>
          </div>
        </details>
        <datalist id="images">
          {[...images].sort().map((image) => (
            <option key={image} value={image} />
          ))}
        </datalist>
        {problem && (
          <div class="problem" role="alert">
            <strong>{problem.title}</strong>
            {problem.lines.filter(Boolean).map((line) => (
              <p key={line}>{line}</p>
            ))}
          </div>
        )}
        <div class="dialog-buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="primary" disabled={busy}>
            {busy ? 'Creating…' : 'Create'}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

interface FieldProps {
  label: string;
  error?: string | undefined;
  hint?: string;
  whole?: boolean;
  children(attributes: { id: string; 'aria-invalid': boolean; 'aria-describedby': string }): ComponentChildren;
}

function Field({ label, error, hint, whole = false, children }: FieldProps) {
  const id = useId();
  return (
    <div class={`field ${whole ? 'whole' : ''}`}>
      <label for={id}>
        {label} {hint && <span class="muted">{hint}</span>}
      </label>
      {children({ id, 'aria-invalid': error !== undefined, 'aria-describedby': `${id}-error` })}
      <span id={`${id}-error`} class="field-error">
        {error}
      </span>
    </div>
  );
}
