// Elements, and numbers as people read them.

const byId = (id) => document.getElementById(id);
const SVG = 'http://www.w3.org/2000/svg';
const PAGE = 50, POINTS = 120, STEP = 5;
const SEVERITIES = ['error', 'warning', 'held', 'ok', 'idle'];
const FILTERS = [['all', 'All'], ['troubled', 'In trouble'], ['held', 'Held'], ['ok', 'Delivering'], ['idle', 'Idle']];

// Everything that comes from the daemon gets into the page as text, never as markup.
const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
};
const draw = (tag, attributes = {}, ...children) => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};
const icon = (name) => draw('svg', { class: 'icon', 'aria-hidden': 'true' }, draw('use', { href: `#i-${name}` }));
const write = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const attribute = (element, name, value) => {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
};

// Numbers as people read them.
const whole = new Intl.NumberFormat('en');
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const count = (n) => (n >= 1e6 ? compact : whole).format(n);
const many = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;
const rate = (n) => (n <= 0 ? '0' : n < 0.05 ? '<0.1' : n < 9.95 ? n.toFixed(1) : count(Math.round(n)));
const seconds = (s) => (s === null || s === undefined ? '–'
  : s < 0.001 ? `${(s * 1000).toFixed(1)} ms` : s < 0.9995 ? `${(s * 1000).toPrecision(s < 0.01 ? 2 : 3).replace(/\.0+$/, '')} ms`
    : s < 99.5 ? `${s.toPrecision(2)} s` : span(s));
const span = (s) => {
  const units = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const at = units.findIndex(([size]) => s >= size);
  if (at < 0) return '0 s';
  const [size, unit] = units[at];
  const [below, small] = units[at + 1] || [0, ''];
  const rest = below ? Math.floor((s % size) / below) : 0;
  return `${Math.floor(s / size)} ${unit}${rest && at < 3 ? ` ${rest} ${small}` : ''}`;
};
const bytes = (n) => {
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let at = 0;
  while (n >= 1024 && at < 3) { n /= 1024; at += 1; }
  return `${at === 0 || n >= 99.5 ? Math.round(n) : +n.toPrecision(2)} ${units[at]}`;
};
const clock = (iso) => new Date(iso).toLocaleTimeString('en', { hour12: false });
const why = (cause) => (/^\d{3}$/.test(cause || '') ? `the webhook answered ${cause}` : cause || '');
const percent = (part, all) => (all > 0 ? Math.min(100, (part / all) * 100) : 0);
