// A real browser: the example page is looked at and clicked, visited many times, and the providers work cross-origin.
import { chromium } from 'playwright-core';

const { executable, page: address, modules, lever, key, visits, screenshot } = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: executable,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--no-proxy-server',
  ],
});
const told = { errors: [] };
const page = await browser.newPage({ viewport: { width: 1100, height: 560 } });
page.on('pageerror', (error) => told.errors.push(String(error)));

// One visitor, by hand.
// A page does not wait for Lever as long as a test may.
for (let visit = 0; visit < 20 && !told.variant; visit++) {
  await page.goto(address);
  await page.waitForSelector('.hero.ready');
  told.variant = await page.getAttribute('.hero', 'data-variant');
}
told.headline = await page.textContent('h1');
await page.screenshot({ path: screenshot });
await page.click('.hero a');

// Many visitors, with the page's own functions: its fetch, its beacons. One of the heroes is far better.
told.seen = await page.evaluate(async (visits) => {
  const { choose, report } = await import('./lever.js');
  let state = 7;
  const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
  const seen = [];
  for (let round = 0; round < visits / 25; round++) {
    const made = await Promise.all(
      Array.from({ length: 25 }, (_, i) => choose('page-hero', `visitor-${round}-${i}`, {}, 30000)),
    );
    for (const { variant, decision } of made) {
      seen.push(variant);
      report(decision);
      if (random() < (variant === 'direct' ? 0.4 : 0.05)) report(decision, 'click');
    }
    await new Promise((resolve) => setTimeout(resolve, 250)); // time to learn
  }
  return seen;
}, visits);

// The stock web provider, then Lever's, from another origin than Lever's.
await page.goto(modules);
told.stock = await page.evaluate(async ({ lever, key }) => {
  const { OpenFeature } = await import('@openfeature/web-sdk');
  const { OFREPWebProvider } = await import('@openfeature/ofrep-web-provider');
  const statuses = [];
  const fetchImplementation = async (...request) => {
    const answer = await fetch(...request);
    statuses.push([answer.status, answer.headers.get('etag') !== null]);
    return answer;
  };
  await OpenFeature.setContext({ targetingKey: 'browser' });
  await OpenFeature.setProviderAndWait(
    new OFREPWebProvider({ baseUrl: lever, fetchImplementation, pollInterval: 100, headers: [['Authorization', `Bearer ${key}`]] }),
  );
  const details = OpenFeature.getClient().getObjectDetails('page-hero', {});
  while (statuses.length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
  await OpenFeature.close();
  return { statuses: statuses.slice(0, 2), details };
}, { lever, key });
told.lever = await page.evaluate(async ({ lever, key }) => {
  const { OpenFeature } = await import('@openfeature/web-sdk');
  const { LeverProvider } = await import('lever-openfeature/web');
  await OpenFeature.setContext({ targetingKey: 'leaver' });
  await OpenFeature.setProviderAndWait(new LeverProvider({ baseUrl: lever, key, cacheMode: 'disabled' }));
  const client = OpenFeature.getClient();
  const details = client.getObjectDetails('page-hero', {});
  client.track('click');
  return details;
}, { lever, key });
await page.goto('about:blank'); // left at once: what was not sent leaves by a beacon
await browser.close();
console.log(JSON.stringify(told));
