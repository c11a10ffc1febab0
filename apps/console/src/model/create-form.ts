import type { MicrovmSpecInput } from '#protocol';

/** The create form as typed. */
export interface CreateForm {
  name: string;
  image: string;
  vcpus: string;
  memoryMiB: string;
  cmdline: string;
  labels: string;
  tenant: string;
  restartPolicy: 'never' | 'on-failure' | 'always';
  onHostLoss: 'keep' | 'reschedule';
  ttlSeconds: string;
}

export const EMPTY_FORM: CreateForm = {
  name: '',
  image: 'canary',
  vcpus: '1',
  memoryMiB: '32',
  cmdline: '',
  labels: '',
  tenant: '',
  restartPolicy: 'never',
  onHostLoss: 'keep',
  ttlSeconds: '',
};

export type FieldErrors = Partial<Record<keyof CreateForm, string>>;

/** A spec from what was typed. Only what cannot be sent is refused here; the gateway is the judge of values. */
export function readForm(
  form: CreateForm,
): { spec: MicrovmSpecInput; errors: null } | { spec: null; errors: FieldErrors } {
  const errors: FieldErrors = {};
  const whole = (field: 'vcpus' | 'memoryMiB' | 'ttlSeconds'): number => {
    const text = form[field].trim();
    if (!/^\d{1,15}$/.test(text)) errors[field] = 'must be a whole number';
    return Number(text);
  };
  if (form.image.trim() === '') errors.image = 'must name an image';
  const labels = readLabels(form.labels);
  if (typeof labels === 'string') errors.labels = labels;
  const spec: MicrovmSpecInput = {
    image: form.image.trim(),
    vcpus: whole('vcpus'),
    memoryMiB: whole('memoryMiB'),
    ...(form.name.trim() && { name: form.name.trim() }),
    ...(form.cmdline && { cmdline: form.cmdline }),
    ...(typeof labels !== 'string' && Object.keys(labels).length > 0 && { labels }),
    ...(form.tenant.trim() && { tenant: form.tenant.trim() }),
    ...(form.restartPolicy !== 'never' && { restartPolicy: form.restartPolicy }),
    ...(form.onHostLoss !== 'keep' && { onHostLoss: form.onHostLoss }),
    ...(form.ttlSeconds.trim() && { ttlSeconds: whole('ttlSeconds') }),
  };
  return Object.keys(errors).length > 0 ? { spec: null, errors } : { spec, errors: null };
}

/** Reads `key=value` pairs, one a line or separated by commas; a string says what is wrong. */
export function readLabels(text: string): Record<string, string> | string {
  const labels: Record<string, string> = {};
  for (const part of text.split(/[\n,]/)) {
    const pair = part.trim();
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    if (equals < 1) return `“${pair}” must be key=value`;
    const key = pair.slice(0, equals).trim();
    if (Object.hasOwn(labels, key)) return `“${key}” is given twice`;
    labels[key] = pair.slice(equals + 1).trim();
  }
  return labels;
}

/** Puts the gateway's complaints beside the fields they are about; what fits no field is returned as `rest`. */
export function fieldErrors(fields: readonly { path: string; message: string }[]): {
  errors: FieldErrors;
  rest: string[];
} {
  const errors: FieldErrors = {};
  const rest: string[] = [];
  for (const { path, message } of fields) {
    const name = path.replace(/^(spec|body)\./, '').split('.')[0] ?? '';
    if (Object.hasOwn(EMPTY_FORM, name)) errors[name as keyof CreateForm] ??= message;
    else rest.push(path ? `${path}: ${message}` : message);
  }
  return { errors, rest };
}
