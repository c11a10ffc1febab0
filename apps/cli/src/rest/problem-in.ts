import type { ProblemDocument } from './rest-error';

/** The problem document that an answer is, or one made of what it is instead. */
export function problemIn(text: string, status: number): ProblemDocument {
  try {
    const problem = JSON.parse(text) as ProblemDocument;
    if (typeof problem === 'object' && problem !== null && typeof problem.detail === 'string') return problem;
  } catch {
    // not a problem document
  }
  return { status, title: `HTTP ${status}`, detail: text.slice(0, 200) || `answered with status ${status}` };
}
