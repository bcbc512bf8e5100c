// Lever's provider for Node, driven by lines of JSON: see tests/rig/clients/driven.py.
import { createInterface } from 'node:readline';
import { OpenFeature } from '@openfeature/server-sdk';
import { LeverProvider } from 'lever-openfeature/server';

const [address, experiment] = process.argv.slice(2);
const provider = new LeverProvider({ baseUrl: `http://${address}` });
await OpenFeature.setProviderAndWait(provider);
const client = OpenFeature.getClient();
const odd = { nan: NaN, object: {}, long: 'x'.repeat(129), half: '\ud800', flag: true };
const driver = {
  async choose({ subject }) {
    const made = await client.getObjectDetails(experiment, {}, { targetingKey: subject });
    return { decision: made.flagMetadata?.decisionId ?? '', error: made.errorMessage ?? '' };
  },
  async track({ decision, metric = 'click', value, odd: given = '' }) {
    const [field, name] = given.split(':');
    const event = { metric, value, ...(name && { [field]: odd[name] }) };
    try {
      provider.track(event.metric, {}, { decisionId: decision, value: event.value });
    } catch (error) {
      return { refused: error.message };
    }
    return { queued: true };
  },
  async event({ decision, event, retract = false }) {
    provider.track('click', {}, { decisionId: decision, eventId: event, retract });
    return { queued: true };
  },
  flush: async ({ seconds }) => ({ done: await provider.flush(seconds * 1000) }),
  close: async ({ seconds }) => ({ done: await provider.outbox.close(seconds * 1000) }),
  lost: async () => ({ dropped: provider.dropped, refused: provider.refused }),
};
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  console.log(JSON.stringify(await driver[asked.do](asked)));
}
