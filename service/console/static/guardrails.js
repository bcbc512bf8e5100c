// Guardrails of a report, where it has some.
export const guardrails = () => null;
