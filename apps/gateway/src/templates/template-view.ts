import type { Template } from '#protocol';

/** A template as its tenant sees it: all of it, but nothing of hosts beside that there are some. */
export function templateForTenant(template: Template, aliasOf: (hostId: string) => string): Template {
  const { source, hosts, reason, storeProblem } = template;
  return {
    ...template,
    reason: reason === null ? null : 'it could not be made, or was lost',
    source: { ...source, hostId: aliasOf(source.hostId) },
    hosts: hosts.map(aliasOf),
    storeProblem: storeProblem === null ? null : 'it could not be stored yet',
    platform: null,
  };
}
