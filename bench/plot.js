/** Plots as SVG, in plain code. Each function returns the text of one file. */

const WIDTH = 760;
const HEIGHT = 400;
const AREA = { left: 90, right: WIDTH - 20, top: 90, bottom: HEIGHT - 55 };
const COLOURS = ['#1b6ca8', '#d1495b', '#3a7d44', '#8a5a9e', '#c77f1a', '#555555'];

/**
 * Lines over places at equal distances, such as batch sizes that double. `places` are their labels, '' for none. Each
 * of `series` is `{ name, values }`, with undefined for a value that was not measured. `write` labels the upright axis.
 */
export function lines({ title, across, upright, places, series, write, logarithmic = false }) {
  const values = series.flatMap(({ values }) => values).filter((value) => value !== undefined);
  const ticks = logarithmic ? decades(Math.min(...values), Math.max(...values)) : steps(Math.max(...values));
  const scale = logarithmic ? Math.log : (value) => value;
  const [low, high] = [scale(ticks[0]), scale(ticks.at(-1))];
  const x = (place) => AREA.left + ((AREA.right - AREA.left) * (place + 0.5)) / places.length;
  const y = (value) => AREA.bottom - ((AREA.bottom - AREA.top) * (scale(value) - low)) / (high - low);

  const parts = ticks.flatMap((tick) => [
    line(AREA.left, y(tick), AREA.right, y(tick), '#ddd'),
    text(AREA.left - 8, y(tick) + 4, write(tick), 'end'),
  ]);
  parts.push(...places.flatMap((place, i) => (place === '' ? [] : [text(x(i), AREA.bottom + 20, place)])));
  parts.push(text((AREA.left + AREA.right) / 2, HEIGHT - 12, across), text(AREA.left, AREA.top - 14, upright, 'start'));
  for (const [i, { name, values }] of series.entries()) {
    const colour = COLOURS[i];
    const points = values.flatMap((value, place) => (value === undefined ? [] : [[x(place), y(value)]]));
    const path = points.map((point) => point.map(short).join(',')).join(' ');
    parts.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    parts.push(...points.map(([x, y]) => `<circle cx="${short(x)}" cy="${short(y)}" r="3.5" fill="${colour}"/>`));
    parts.push(...key(i, name));
  }
  return svg(title, HEIGHT, parts);
}

/** Puts such plots one below the other, as one. */
export function column(plots) {
  const placed = plots.map((plot, i) => plot.replace('<svg ', `<svg y="${i * HEIGHT}" `));
  const height = plots.length * HEIGHT;
  const size = `viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}"`;
  return [`<svg xmlns="http://www.w3.org/2000/svg" ${size}>`, ...placed, '</svg>', ''].join('\n');
}

/**
 * Horizontal bars. Each of `rows` is `{ name, values }`, with one value for each of `parts`, drawn one after the other.
 */
export function bars({ title, parts: names, rows, write }) {
  const [left, room, top, pitch] = [270, WIDTH - 270 - 100, 60, 26];
  const most = Math.max(...rows.map(sum));
  const parts = names.flatMap((name, i) => key(i, name));
  for (const [i, row] of rows.entries()) {
    const y = top + i * pitch;
    parts.push(text(left - 8, y + 14, row.name, 'end'));
    let x = left;
    for (const [part, value] of row.values.entries()) {
      const width = (room * value) / most;
      parts.push(`<rect x="${short(x)}" y="${y}" width="${short(width)}" height="19" fill="${COLOURS[part]}"/>`);
      x += width;
    }
    parts.push(text(x + 6, y + 14, write(sum(row)), 'start'));
  }
  return svg(title, top + rows.length * pitch + 15, parts);
}

function sum({ values }) {
  return values.reduce((total, value) => total + value);
}

function svg(title, height, parts) {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}"`,
    `  font-family="sans-serif" font-size="12" fill="#222">`,
    `<rect width="${WIDTH}" height="${height}" fill="white"/>`,
    `<text x="${WIDTH / 2}" y="22" text-anchor="middle" font-size="15">${escaped(title)}</text>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

/** The key of the colours, in rows of four under the title. */
function key(i, name) {
  const x = AREA.left + 10 + (i % 4) * 165;
  const y = 34 + Math.floor(i / 4) * 18;
  return [`<rect x="${x}" y="${y}" width="12" height="12" fill="${COLOURS[i]}"/>`, text(x + 18, y + 10, name, 'start')];
}

function line(x1, y1, x2, y2, colour) {
  return `<line x1="${short(x1)}" y1="${short(y1)}" x2="${short(x2)}" y2="${short(y2)}" stroke="${colour}"/>`;
}

function text(x, y, content, anchor = 'middle') {
  return `<text x="${short(x)}" y="${short(y)}" text-anchor="${anchor}">${escaped(content)}</text>`;
}

function escaped(content) {
  return String(content).replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

function short(value) {
  return Number(value.toFixed(1));
}

/** From 0 to past the most, in four to eight round steps. */
function steps(most) {
  const unit = 10 ** Math.floor(Math.log10(most));
  const step = [0.2, 0.25, 0.5, 1, 2].map((part) => part * unit).find((step) => most / step <= 7);
  return Array.from({ length: Math.ceil(most / step) + 1 }, (_, i) => i * step);
}

/** 1, 2, 5, 10 and so on, from below the least to above the most. */
function decades(least, most) {
  const all = [];
  for (let unit = 10 ** Math.floor(Math.log10(least)); unit <= most; unit *= 10) all.push(unit, unit * 2, unit * 5);
  all.push(10 ** Math.ceil(Math.log10(most)));
  const from = all.findLastIndex((tick) => tick <= least);
  const to = all.findIndex((tick) => tick >= most);
  return all.slice(from, to + 1);
}
