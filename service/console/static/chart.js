// uPlot in the page's own colours: as wide as its place, drawn anew where the colours or the width change.
import { ink } from './colours.js';
import uPlot from './vendor/uPlot.esm.js';

const dark = matchMedia('(prefers-color-scheme: dark)');
export const utc = (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC');

// A `keep` for dom.js. `data` is {columns, options}: `options(node)` is made anew where the shape changes, columns are taken as
// they come.
export const chart = {
  make(node, data) {
    const kept = { node, data, plot: null };
    kept.again = () => draw(kept);
    kept.size = new ResizeObserver(() => kept.plot && kept.plot.width !== node.clientWidth && kept.plot.setSize(size(node, kept.data)));
    kept.size.observe(node);
    dark.addEventListener('change', kept.again);
    requestAnimationFrame(() => node.isConnected && draw(kept));
    return kept;
  },
  update(kept, data) {
    const same = kept.plot && kept.data.shape === data.shape;
    kept.data = data;
    if (same) kept.plot.setData(data.columns);
    else draw(kept);
  },
  end(kept) {
    kept.size.disconnect();
    dark.removeEventListener('change', kept.again);
    kept.plot?.destroy();
    kept.plot = null;
  },
};

const size = (node, data) => ({ width: Math.max(node.clientWidth, 200), height: data.height ?? 190 });

function draw(kept) {
  kept.plot?.destroy();
  kept.plot = new uPlot({ ...size(kept.node, kept.data), ...kept.data.options() }, kept.data.columns, kept.node);
}

const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');
function dated(seconds, step) {
  const at = new Date(seconds * 1000);
  const clock = step < 86400 && at.getUTCHours() + at.getUTCMinutes() > 0;
  return clock ? at.toISOString().slice(11, 16) : `${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]}`;
}

const FONT = '11px system-ui, sans-serif';
export const axes = (show) => {
  const common = { stroke: ink('--soft'), font: FONT, grid: { stroke: ink('--line'), width: 1 }, ticks: { stroke: ink('--line'), width: 1, size: 4 } };
  return [{ ...common, grid: { show: false }, space: 64, values: (_, splits, __, ___, step) => splits.map((at) => (at === null ? '' : dated(at, step))) }, { ...common, size: 56, values: (_, splits) => splits.map((at) => (at === null ? '' : show(at))) }];
};

export const frame = (rest) => ({
  tzDate: utc,
  cursor: { drag: { setScale: false, x: false, y: false }, points: { size: 5 } },
  legend: { live: true },
  ...rest,
});

// Vertical lines where somebody changed something, numbered as in the list below the charts.
export const marks = (changes) => ({
  hooks: {
    draw: [(plot) => {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.strokeStyle = ink('--note');
      ctx.fillStyle = ink('--note');
      ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
      ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
      changes.forEach(({ at_ms: at }, index) => {
        // What was done in the last period stands at the right edge, where the curves end.
        const x = Math.min(Math.round(plot.valToPos(at / 1000, 'x', true)), bbox.left + bbox.width - 1);
        if (x < bbox.left) return;
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        const right = x > bbox.left + bbox.width - 14 * devicePixelRatio;
        ctx.textAlign = right ? 'right' : 'left';
        ctx.fillText(String(changes.length - index), x + (right ? -3 : 3) * devicePixelRatio, bbox.top + 11 * devicePixelRatio);
      });
      ctx.restore();
    }],
  },
});
