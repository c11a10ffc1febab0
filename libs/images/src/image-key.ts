/**
 * The key of an image's name in the KV bucket. Keys take neither `:` nor dots at their ends, so what is neither letter, digit,
 * `-`, `_` nor `/` is written as `=` and its code: `alpine:3.20` is `alpine=3A3=2E20`.
 */
export function imageKey(name: string): string {
  return name.replace(
    /[^a-zA-Z0-9/_-]/g,
    (char) => `=${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}
