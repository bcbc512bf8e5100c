// How long the console takes to draw many experiments, and whether it grows or jumps while it is looked at.
import { chromium } from 'playwright-core';

const { executable, base, experiment, minutes } = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: executable,
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-proxy-server'],
});
const page = await browser.newPage({ viewport: { width: 1240, height: 900 } });
const errors = [];
page.on('pageerror', (error) => errors.push(String(error)));
const client = await page.context().newCDPSession(page);
await page.addInitScript(() => {
  window.shifts = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((one) => { window.shifts += one.value; })).observe({ type: 'layout-shift', buffered: true });
});
// From the beginning of the navigation to the frame in which it is drawn.
const drawn = async (hash, ready) => {
  await page.goto('about:blank');
  await page.goto(`${base}/${hash}`, { waitUntil: 'commit' });
  await page.waitForFunction(ready, null, { polling: 'raf' });
  return page.evaluate(() => Math.round(performance.now()));
};
const LIST = () => document.querySelectorAll('.experiment').length === 50 && !document.getElementById('main').innerText.includes('is being made');
const ARMS = () => document.querySelectorAll('.leaderboard tbody tr').length === 20;
const told = { list_first_ms: await drawn('#/', LIST), list_ms: [], experiment_ms: [], heap_mb: [], errors };
for (let round = 0; round < 5; round++) {
  told.list_ms.push(await drawn('#/', LIST));
  told.experiment_ms.push(await drawn(`#/e/${experiment}`, ARMS));
}
const begun = Date.now();
const heap = async () => {
  await client.send('HeapProfiler.collectGarbage');
  await client.send('HeapProfiler.collectGarbage');
  const { usedSize } = await client.send('Runtime.getHeapUsage');
  const { nodes, jsEventListeners } = await client.send('Memory.getDOMCounters');
  told.heap_mb.push([Math.round((Date.now() - begun) / 1000), Number((usedSize / 1e6).toFixed(2)), nodes, jsEventListeners]);
};
await page.waitForTimeout(8000);
await page.evaluate(() => { window.shifts = 0; window.stays = [document.querySelector('.leaderboard'), document.querySelector('.headline')]; });
while (Date.now() - begun < minutes * 60000) {
  await heap();
  await page.waitForTimeout(30000);
}
await heap();
told.layout_shift = await page.evaluate(() => window.shifts);
told.same_elements = await page.evaluate(() => window.stays.every((one) => one.isConnected));
await browser.close();
console.log(JSON.stringify(told));
