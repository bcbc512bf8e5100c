// Lever's provider for browsers, in Chromium, driven by lines of JSON: see tests/rig/clients/driven.py.
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const [address, experiment, executable, modules] = process.argv.slice(2);
const args = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--no-proxy-server'];
const browser = await chromium.launch({ executablePath: executable, args });
const page = await browser.newPage();
await page.goto(modules);
await page.evaluate(async ({ address, experiment }) => {
  const { OpenFeature } = await import('@openfeature/web-sdk');
  const { LeverProvider } = await import('lever-openfeature/web');
  const provider = new LeverProvider({ baseUrl: `http://${address}`, cacheMode: 'disabled' });
  await OpenFeature.setContext({ targetingKey: 'first' });
  await OpenFeature.setProviderAndWait(provider).catch(() => {});
  const odd = { nan: NaN, object: {}, long: 'x'.repeat(129), half: '\ud800', flag: true };
  window.driver = {
    async choose({ subject }) {
      await OpenFeature.setContext({ targetingKey: subject });
      const made = OpenFeature.getClient().getObjectDetails(experiment, {});
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
    flush: async ({ seconds }) => ({ done: await provider.flush(seconds * 1000) }),
    close: async ({ seconds }) => ({ done: await provider.outbox.close(seconds * 1000) }),
    lost: async () => ({ dropped: provider.dropped, refused: provider.refused }),
  };
}, { address, experiment });
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await page.evaluate((asked) => window.driver[asked.do](asked), JSON.parse(line))));
}
await browser.close();
