// The last ten minutes as a chart, and pairs of names and values.

const chart = (title, series, unit, label) => {
  const svg = draw('svg', { role: 'img', 'aria-label': label, preserveAspectRatio: 'none' });
  const legend = series.map((one) => {
    const value = make('b');
    one.value = value;
    return make('span', { class: `legend ${one.tone}` }, make('i'), one.name, value);
  });
  const element = make('section', { class: 'panel' }, make('h3', {}, title, ...legend), make('div', { class: 'chart' }, svg));
  let data = series.map(() => []);
  let hover = null;
  const render = () => {
    const width = Math.max(svg.clientWidth, 200), height = 150, left = 44, bottom = 18, right = 4, top = 8;
    svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    const values = data.flat().filter((value) => value !== null);
    const most = ceiling(Math.max(...values, unit === 's' ? 0.001 : 1));
    const length = Math.max(...data.map((list) => list.length));
    const x = (index) => left + ((POINTS - length + index) / (POINTS - 1)) * (width - left - right);
    const y = (value) => top + (1 - value / most) * (height - top - bottom);
    const parts = [];
    for (const share of [0, 0.5, 1]) {
      parts.push(draw('line', { class: 'grid', x1: left, x2: width - right, y1: y(most * share), y2: y(most * share) }));
      parts.push(draw('text', { x: left - 8, y: y(most * share) + 4, 'text-anchor': 'end' }, unit === 's' ? seconds(most * share).replace(/^0.0 ms$/, '0') : rate(most * share)));
    }
    for (const minutes of [10, 8, 6, 4, 2, 0]) {
      const at = left + (1 - minutes / 10) * (width - left - right);
      const anchor = minutes === 10 ? 'start' : minutes ? 'middle' : 'end';
      parts.push(draw('text', { x: at, y: height - 3, 'text-anchor': anchor }, minutes ? `−${minutes} min` : 'now'));
    }
    data.forEach((list, number) => {
      let path = '', isOpen = false, since = null;
      list.forEach((value, index) => {
        if (value === null) { isOpen = false; return; }
        if (since === null) since = index;
        path += `${isOpen ? 'L' : 'M'}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
        // A point alone would not be seen.
        if (!isOpen && (list[index + 1] === null || list[index + 1] === undefined)) path += 'h2';
        isOpen = true;
      });
      if (number === 0 && unit === '/s' && list.length > 1) {
        parts.push(draw('path', { class: 'a1', d: `${path}L${x(list.length - 1).toFixed(1)} ${y(0)}L${x(0).toFixed(1)} ${y(0)}Z` }));
      }
      parts.push(draw('path', { class: `l${number + 1} ${series[number].tone}`, d: path }));
    });
    if (!values.length) parts.push(draw('text', { class: 'none', x: (left + width) / 2, y: height / 2 }, 'Nothing in the last ten minutes'));
    const index = hover === null ? length - 1 : Math.round(((hover - left) / (width - left - right)) * (POINTS - 1)) - (POINTS - length);
    const at = Math.min(Math.max(index, 0), Math.max(length - 1, 0));
    if (hover !== null && length) {
      parts.push(draw('line', { class: 'cross', x1: x(at), x2: x(at), y1: top, y2: height - bottom }));
      const ago = (length - 1 - at) * STEP;
      parts.push(draw('text', { x: Math.min(Math.max(x(at), left + 30), width - 34), y: top + 2, 'text-anchor': 'middle' }, ago ? `${span(ago)} ago` : 'now'));
    }
    series.forEach((one, number) => {
      const value = data[number][at];
      const text = value === null || value === undefined ? '–' : unit === 's' ? seconds(value) : `${rate(value)}/s`;
      write(one.value, text);
    });
    svg.replaceChildren(...parts);
  };
  svg.addEventListener('pointermove', (event) => { hover = event.offsetX; render(); });
  svg.addEventListener('pointerleave', () => { hover = null; render(); });
  return { element, update: (lists) => { data = lists; render(); } };
};
const ceiling = (value) => {
  const size = 10 ** Math.floor(Math.log10(value));
  return size * [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * size >= value * 0.999);
};

const pairs = () => {
  const list = make('dl', { class: 'grid2' });
  const known = new Map();
  const set = (name, text, part, bound) => {
    if (!known.has(name)) {
      const value = make('dd'), fill = make('i'), gauge = make('div', { class: 'gauge', 'aria-hidden': 'true' }, fill);
      const body = make('dd', {}, gauge);
      list.append(make('div', { class: 'kv' }, make('dt', {}, name), value, bound === undefined ? null : body));
      known.set(name, { value, fill, gauge });
    }
    const { value, fill, gauge } = known.get(name);
    write(value, text);
    if (bound !== undefined) {
      const full = percent(part, bound);
      fill.style.width = `${full > 0 ? Math.max(full, 1) : 0}%`;
      attribute(gauge, 'data-severity', full >= 90 ? 'error' : full >= 70 ? 'warning' : null);
    }
  };
  return { list, set };
};

