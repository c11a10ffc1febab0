/**
 * Who owns which partition: the member whose score for it is highest (rendezvous hashing, Thaler and Ravishankar 1996). Everybody
 * who knows the same members comes to the same answer without asking, and a member that comes or goes moves only its own share.
 */
export function partitionOwners(members: readonly string[], partitions: number): (string | undefined)[] {
  const ordered = [...members].sort();
  return Array.from({ length: partitions }, (_, partition) => {
    let best: string | undefined;
    let highest = -1;
    for (const member of ordered) {
      const score = scoreOf(member, partition);
      if (score > highest) [best, highest] = [member, score];
    }
    return best;
  });
}

/** FNV-1a over the name, then the partition mixed in by the finalizer of MurmurHash3, which spreads names that differ in one letter. */
function scoreOf(member: string, partition: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < member.length; i++) hash = Math.imul(hash ^ member.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (partition + 1), 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
