'use strict';

const kColours = {
  decode: '#8a94a3', queue: '#c9a227', preprocess: '#5aa9a0', text: '#a06cb8', vision: '#3b7dd8',
  prefix: '#7a5fd0', denoise: '#e0703c', post: '#4d9a53',
};
const kSpare = ['#b5527a', '#6b8e23', '#20809a', '#a0522d'];
const kOrder = ['decode', 'queue', 'preprocess', 'text', 'vision', 'prefix', 'denoise', 'post'];
const $ = (id) => document.getElementById(id);
let shown = new URLSearchParams(location.search).get('policy');
let key = sessionStorage.getItem('key') || '';

function css(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

function element(tag, text, parent) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (parent) parent.append(e);
  return e;
}

function colourOf(stage, index) { return kColours[stage] || kSpare[index % kSpare.length]; }

function number(v, digits = 2) {
  if (v === undefined || v === null) return '–';
  if (v !== 0 && Math.abs(v) < 0.01) return v.toExponential(1);
  return v >= 1000 ? v.toFixed(0) : v >= 100 ? v.toFixed(1) : v.toFixed(digits);
}

function bytes(n) { return n >= 1e9 ? (n / 1e9).toFixed(2) + ' GB' : (n / 1e6).toFixed(1) + ' MB'; }

// A canvas sized for the screen's pixels; drawing is in CSS pixels.
function pen(canvas, height) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth;
  canvas.style.height = height + 'px';
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const c = canvas.getContext('2d');
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, width, height);
  c.font = '11px system-ui, sans-serif';
  c.lineWidth = 1;
  return { c, width, height };
}

function niceStep(top) {
  const rough = top / 4, power = Math.pow(10, Math.floor(Math.log10(rough)));
  for (const m of [1, 2, 2.5, 5, 10]) if (m * power >= rough) return m * power;
  return 10 * power;
}

// Horizontal lines with their values; returns the value's height.
function scale({ c, width, height }, top, left, bottom) {
  const step = niceStep(top || 1), most = Math.max(step, Math.ceil((top || 1) / step) * step);
  const y = (v) => 8 + (height - 8 - bottom) * (1 - v / most);
  c.strokeStyle = css('--line');
  c.fillStyle = css('--quiet');
  c.textAlign = 'right';
  c.textBaseline = 'middle';
  for (let v = 0; v <= most * 1.0001; v += step) {
    c.beginPath(); c.moveTo(left, y(v)); c.lineTo(width, y(v)); c.stroke();
    c.fillText(String(+v.toPrecision(3)), left - 6, y(v));
  }
  return y;
}

function ageText(s) { return s < 90 ? s.toFixed(0) + ' s ago' : (s / 60).toFixed(0) + ' min ago'; }

// Stacked areas: decode at the bottom, post at the top.
function drawStages(samples) {
  const board = pen($('stages'), 240), { c, width, height } = board, left = 46, bottom = 22;
  const seen = new Set(samples.flatMap((s) => Object.keys(s.ms)));
  const stages = kOrder.filter((s) => seen.has(s)).concat([...seen].filter((s) => !kOrder.includes(s)));
  const totals = samples.map((s) => Object.values(s.ms).reduce((a, b) => a + b, 0));
  const sorted = [...totals].sort((a, b) => a - b);
  const top = sorted.length ? sorted[Math.ceil(sorted.length * 0.99) - 1] * 1.1 : 1;
  const y = scale(board, top, left, bottom);
  const x = (i) => left + (width - left) * (samples.length > 1 ? i / (samples.length - 1) : 1);
  let floor = samples.map(() => 0);
  c.save();
  c.beginPath(); c.rect(left, 0, width - left, height - bottom + 1); c.clip();
  stages.forEach((stage, index) => {
    const ceiling = floor.map((v, i) => v + (samples[i].ms[stage] || 0));
    c.beginPath();
    ceiling.forEach((v, i) => (i ? c.lineTo(x(i), y(v)) : c.moveTo(x(i), y(v))));
    for (let i = floor.length - 1; i >= 0; --i) c.lineTo(x(i), y(floor[i]));
    c.fillStyle = colourOf(stage, index);
    c.fill();
    floor = ceiling;
  });
  c.restore();
  c.fillStyle = css('--quiet');
  c.textBaseline = 'bottom';
  if (samples.length) {
    c.textAlign = 'left'; c.fillText(ageText(samples[0].age), left, height);
    c.textAlign = 'right'; c.fillText(ageText(samples[samples.length - 1].age), width, height);
  }
  const legend = $('stage-legend');
  legend.replaceChildren();
  stages.forEach((stage, index) => {
    const item = element('span', undefined, legend);
    element('i', undefined, item).style.background = colourOf(stage, index);
    item.append(stage);
  });
}

// Chunks in each of the newest seconds, from their ages.
function rates(samples) {
  const oldest = samples.length ? samples[0].age : 0, seconds = Math.min(60, Math.max(10, Math.ceil(oldest)));
  const bins = new Array(seconds).fill(0);
  for (const s of samples) {
    const bin = seconds - 1 - Math.floor(s.age);
    if (bin >= 0 && bin < seconds) ++bins[bin];
  }
  return bins;
}

function drawRate(samples) {
  const board = pen($('rate'), 150), { c, width, height } = board, left = 46, bottom = 18;
  const bins = rates(samples), y = scale(board, Math.max(...bins, 1), left, bottom);
  const step = (width - left) / bins.length;
  c.fillStyle = css('--accent');
  bins.forEach((v, i) => c.fillRect(left + i * step + 0.5, y(v), Math.max(1, step - 1), y(0) - y(v)));
  c.fillStyle = css('--quiet');
  c.textBaseline = 'bottom';
  c.textAlign = 'left'; c.fillText(ageText(bins.length), left, height);
  c.textAlign = 'right'; c.fillText('now', width, height);
}

function drawFigures(figures) {
  const table = $('figures'), names = ['e2e', 'infer'].concat(kOrder).filter((n) => figures[n]);
  table.replaceChildren();
  const head = element('tr', undefined, table);
  for (const h of ['', 'p50', 'p90', 'p99', 'max', 'n']) element('th', h, head);
  for (const name of names) {
    const f = figures[name], row = element('tr', undefined, table);
    element('td', name === 'e2e' ? 'end to end' : name, row);
    for (const v of [f.p50, f.p90, f.p99, f.max]) element('td', number(v), row);
    element('td', f.n, row);
  }
}

function tile(parent, value, unit, label) {
  const t = element('div', undefined, parent);
  t.className = 'tile';
  const b = element('b', value, t);
  if (unit) element('small', unit, b);
  element('span', label, t);
}

function drawTiles(all, policy) {
  const tiles = $('tiles'), f = policy.figures || {}, bins = rates(policy.samples), out = policy.outcomes;
  const recent = bins.slice(-6, -1), rate = recent.reduce((a, b) => a + b, 0) / Math.max(1, recent.length);
  const refused = out.bad_encoding + out.bad_observation + out.busy + out.engine_failed;
  tiles.replaceChildren();
  tile(tiles, number(f.e2e && f.e2e.p50), 'ms', 'end to end, p50');
  tile(tiles, number(f.e2e && f.e2e.p99), 'ms', 'end to end, p99');
  tile(tiles, rate.toFixed(1), '/s', 'request rate');
  tile(tiles, out.ok.toLocaleString('en'), '', 'chunks answered');
  tile(tiles, refused.toLocaleString('en'), '', 'requests refused');
  tile(tiles, `${all.sessions}`, `of ${all.max_sessions}`, 'clients');
  tile(tiles, bytes(all.resident_bytes), '', 'resident memory');
}

function drawChunk(chunk, loaded) {
  const box = $('chunk'), hz = loaded && loaded.control_hz;
  $('chunk-unit').textContent = chunk.width
    ? `${chunk.horizon} ticks × ${chunk.width} dimensions, robot units` + (hz ? `, ${hz} Hz` : '') : '';
  if (!chunk.width) {
    box.replaceChildren();
    element('p', 'No chunk yet.', box).className = 'empty';
    return;
  }
  if (box.children.length !== chunk.width || box.firstChild.tagName === 'P') {
    box.replaceChildren();
    for (let d = 0; d < chunk.width; ++d) {
      const panel = element('section', undefined, box), line = element('div', undefined, panel);
      element('span', 'a' + d, line);
      element('span', '', line);
      element('canvas', undefined, panel);
    }
  }
  for (let d = 0; d < chunk.width; ++d) drawDimension(box.children[d], chunk, d);
}

function drawDimension(panel, chunk, d) {
  const values = [];
  for (let r = 0; r < chunk.horizon; ++r) values.push(chunk.actions[r * chunk.width + d]);
  const low = Math.min(...values), high = Math.max(...values), room = Math.max((high - low) * 0.1, 1e-6);
  panel.firstChild.lastChild.textContent = `${low.toPrecision(3)} … ${high.toPrecision(3)}`;
  const { c, width, height } = pen(panel.lastChild, 72);
  const x = (r) => 3 + (width - 6) * (values.length > 1 ? r / (values.length - 1) : 0.5);
  const y = (v) => 4 + (height - 8) * (1 - (v - low + room) / (high - low + 2 * room));
  c.strokeStyle = css('--line');
  c.strokeRect(0.5, 0.5, width - 1, height - 1);
  if (low < 0 && high > 0) {
    c.setLineDash([3, 3]);
    c.beginPath(); c.moveTo(0, y(0)); c.lineTo(width, y(0)); c.stroke();
    c.setLineDash([]);
  }
  c.strokeStyle = css('--accent');
  c.lineWidth = 1.6;
  c.beginPath();
  values.forEach((v, r) => (r ? c.lineTo(x(r), y(v)) : c.moveTo(x(r), y(v))));
  c.stroke();
  c.fillStyle = css('--accent');
  c.beginPath(); c.arc(x(0), y(values[0]), 2.6, 0, 7); c.fill();
}

function drawLoaded(policy) {
  const list = $('loaded'), l = policy.loaded;
  list.replaceChildren();
  if (!l) return element('p', policy.reason || 'Loading.', list);
  const rows = [
    ['Contract', `${l.contract} (${l.family})`], ['Precision', `${l.precision}, ${l.schedule} time steps`],
    ['Device', l.device], ['Denoising steps', l.steps],
    ['Chunk', `${l.horizon} × ${l.width}` + (l.control_hz ? ` at ${l.control_hz} Hz` : '')],
    ['Memory', bytes(l.memory_bytes)], ['Weights', l.weights, 'code'],
    ['Statistics', l.statistics_sha256 ? 'sha256 ' + l.statistics_sha256 : 'none', 'code'],
    ['Tokenizer', l.tokenizer_sha256 ? 'sha256 ' + l.tokenizer_sha256 : 'none', 'code'],
  ];
  for (const [name, value, tag] of rows) {
    element('dt', name, list);
    const dd = element('dd', tag ? undefined : value, list);
    if (tag) element(tag, value, dd);
  }
}

function request(path) { return fetch(path, { cache: 'no-store', headers: key ? { Authorization: 'Api-Key ' + key } : {} }); }

// "P6\nwidth height\n255\n" and RGB.
function paint(buffer, canvas) {
  const data = new Uint8Array(buffer), head = new TextDecoder('latin1').decode(data.subarray(0, 32));
  const match = /^P6\n(\d+) (\d+)\n255\n/.exec(head);
  if (!match) return;
  const width = +match[1], height = +match[2], image = new ImageData(width, height);
  for (let i = 0, from = match[0].length; i < image.data.length; i += 4, from += 3) {
    image.data[i] = data[from];
    image.data[i + 1] = data[from + 1];
    image.data[i + 2] = data[from + 2];
    image.data[i + 3] = 255;
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext('2d').putImageData(image, 0, 0);
}

async function drawPictures(policy) {
  const box = $('pictures');
  if (!policy.pictures.length) {
    box.replaceChildren();
    element('p', 'No picture yet.', box).className = 'empty';
    return;
  }
  if (box.children.length !== policy.pictures.length || box.firstChild.tagName === 'P') {
    box.replaceChildren();
    for (const _ of policy.pictures) {
      const figure = element('figure', undefined, box);
      element('canvas', undefined, figure);
      element('figcaption', '', figure);
    }
  }
  await Promise.all(policy.pictures.map(async (picture, i) => {
    const reply = await request(`/live/picture/${policy.name}/${i}`);
    if (!reply.ok || !box.children[i]) return;
    paint(await reply.arrayBuffer(), box.children[i].firstChild);
    box.children[i].lastChild.textContent = `${picture.camera} · ${picture.width}×${picture.height}`;
  }));
}

function drawNames(all, policy) {
  const nav = $('policies');
  nav.replaceChildren();
  for (const p of all.policies) {
    const button = element('button', p.name, nav);
    button.setAttribute('aria-current', p === policy);
    button.onclick = () => { shown = p.name; update(); };
  }
  $('state').textContent = policy.state + (policy.waiting ? `, ${policy.waiting} waiting` : '');
  $('state').className = 'state ' + policy.state;
  $('server').textContent = 'tendon ' + all.version;
}

async function update() {
  const reply = await request('/live.json');
  $('key').hidden = reply.status !== 401;
  if (!reply.ok) return;
  const all = await reply.json(), policy = all.policies.find((p) => p.name === shown) || all.policies[0];
  drawNames(all, policy);
  drawTiles(all, policy);
  drawStages(policy.samples);
  drawRate(policy.samples);
  drawFigures(policy.figures || {});
  drawChunk(policy.chunk, policy.loaded);
  drawLoaded(policy);
  $('prompt').textContent = policy.prompt;
  await drawPictures(policy);
  document.body.dataset.updates = 1 + Number(document.body.dataset.updates || 0);
}

async function loop() {
  for (;;) {
    try {
      await update();
    } catch (error) {
      $('state').textContent = 'no answer';
      $('state').className = 'state failed';
    }
    await new Promise((done) => setTimeout(done, 500));
  }
}

$('key').onsubmit = (event) => {
  event.preventDefault();
  key = $('key-text').value;
  sessionStorage.setItem('key', key);
  update();
};
loop();
