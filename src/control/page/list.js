// The list of routes.

const chips = new Map();
for (const [state, name] of FILTERS) {
  const number = make('b');
  const severity = state === 'troubled' ? 'error' : state;
  const chip = make('button', { type: 'button', class: 'chip', 'aria-pressed': 'false', 'data-severity': severity },
    state === 'all' ? null : icon(severity), name, number);
  chip.addEventListener('click', () => select({ state: selected.state === state ? 'all' : state }));
  chips.set(state, { chip, number });
  byId('chips').append(chip);
}
const showChips = () => {
  const { severities: s, routes } = status.totals;
  const numbers = { all: routes, troubled: s.error + s.warning, held: s.held, ok: s.ok, idle: s.idle };
  for (const [state, { chip, number }] of chips) {
    write(number, count(numbers[state]));
    attribute(chip, 'aria-pressed', String(selected.state === state));
    attribute(chip, 'data-some', String(numbers[state] > 0));
  }
  attribute(chips.get('troubled').chip, 'data-severity', s.error ? 'error' : 'warning');
};

const rows = new Map();
const sparkline = (bad) => draw('svg', { class: `spark${bad ? ' bad' : ''}`, viewBox: `0 0 ${POINTS} 32`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
  draw('path', { class: 'area' }), draw('path', { class: 'line' }));
const row = (name) => {
  const link = make('a', { href: `#/routes/${encodeURIComponent(name)}` }, name);
  const text = make('p'), cause = make('p', { class: 'dim' });
  const mark = icon('idle'), from = make('span'), to = make('span');
  const delivered = make('span'), median = make('span'), slow = make('small'), failed = make('span');
  const queue = make('span'), fill = make('i'), good = sparkline(false), bad = sparkline(true);
  const gauge = make('div', { class: 'gauge', 'aria-hidden': 'true' }, fill);
  const element = make('tr', {},
    make('th', { scope: 'row' }, make('div', { class: 'route' }, mark, link, text, cause)),
    make('td', { class: 'c-flow' }, make('div', { class: 'flow' }, from, to)),
    make('td', { class: 'num c-rate' }, make('div', { class: 'measure' }, good, delivered)),
    make('td', { class: 'num c-lat' }, make('div', { class: 'two' }, median, slow)),
    make('td', { class: 'num c-fail' }, make('div', { class: 'measure' }, bad, failed)),
    make('td', { class: 'num c-queue' }, make('div', { class: 'queue' }, queue, gauge)));
  const update = (route) => {
    attribute(element, 'data-severity', route.severity);
    attribute(mark.firstChild, 'href', `#i-${route.severity}`);
    write(text, route.text);
    write(cause, why(route.cause));
    cause.hidden = !route.cause;
    element.title = route.cause ? `${route.text}: ${route.cause}` : '';
    const consumer = route.source.consumer;
    write(from, consumer ? `${consumer.stream} · ${route.source.subject}` : route.source.subject);
    write(to, route.webhook.url);
    write(delivered, `${rate(route.rates.delivered)}/s`);
    delivered.className = route.rates.delivered > 0 ? '' : 'dim';
    write(median, route.latency ? seconds(route.latency.p50) : '–');
    median.className = route.latency ? '' : 'dim';
    write(slow, route.latency ? `p99 ${seconds(route.latency.p99)}` : '');
    write(failed, `${rate(route.rates.failed)}/s`);
    failed.className = route.rates.failed > 0 ? 'strong-bad' : 'dim';
    const waiting = route.load.queue.messages + route.load.retry.messages;
    write(queue, count(waiting));
    queue.className = waiting ? '' : 'dim';
    const full = Math.max(
      percent(route.load.queue.messages, route.bounds.queue.messages), percent(route.load.queue.bytes, route.bounds.queue.bytes),
      percent(route.load.retry.messages, route.bounds.retry.messages), percent(route.load.retry.bytes, route.bounds.retry.bytes));
    // What is under way counts for the bounds, too; where nothing waits, it is not to look as if something did.
    fill.style.width = `${waiting ? Math.max(full, 2) : full}%`;
    attribute(gauge, 'data-severity', full >= 90 ? 'error' : full >= 70 ? 'warning' : null);
    const history = histories.get(route.name);
    spark(good, history ? history.delivered : []);
    // One failure now and then is not to look like an outage.
    spark(bad, history ? history.failed : [], 1);
  };
  element.addEventListener('click', (event) => {
    if (event.target.closest('a') || String(getSelection())) return;
    link.click();
  });
  return { element, link, update };
};

// While the pointer or the keyboard is in the list, rows stay where they are.
const table = byId('table');
const isHeld = () => table.matches(':hover') || (table.contains(document.activeElement) && !byId('detail').open);
let listed = '';
const showRows = () => {
  const wanted = shown.routes.map((route) => route.name);
  const key = JSON.stringify([selected.search, selected.state, selected.after]);
  const present = [...byId('rows').children].filter((element) => element.dataset.name);
  const names = present.map((element) => element.dataset.name);
  let order = wanted;
  if (key === listed && isHeld() && names.length) {
    const all = new Set(wanted);
    order = [...names.filter((name) => all.has(name)), ...wanted.filter((name) => !names.includes(name))].slice(0, PAGE);
  }
  listed = key;
  const routes = new Map(shown.routes.map((route) => [route.name, route]));
  for (const name of [...rows.keys()]) if (!routes.has(name)) rows.delete(name);
  const elements = order.map((name) => {
    if (!rows.has(name)) {
      rows.set(name, row(name));
      rows.get(name).element.dataset.name = name;
    }
    rows.get(name).update(routes.get(name));
    return rows.get(name).element;
  });
  if (elements.length !== byId('rows').children.length || elements.some((element, index) => byId('rows').children[index] !== element)) {
    const focused = document.activeElement;
    byId('rows').replaceChildren(...elements);
    if (focused && focused !== document.activeElement && byId('rows').contains(focused)) focused.focus();
  }
  showEmpty();
  showPager();
};
table.addEventListener('pointerleave', () => { if (shown) showRows(); });

const showEmpty = () => {
  const isEmpty = shown.routes.length === 0;
  byId('empty').hidden = !isEmpty;
  table.hidden = isEmpty;
  if (!isEmpty) return void byId('empty').replaceChildren();
  const none = status.totals.routes === 0;
  const title = none ? 'No routes yet' : selected.state === 'troubled' && !selected.search ? 'No route is in trouble' : 'No route fits';
  const text = none ? 'A route takes messages from a subject to a webhook. docs/configuration.md says how to add one.'
    : selected.search ? `Nothing is called, subscribed to or sent to “${selected.search}”.` : `${many(status.totals.routes, 'route')} in all.`;
  const key = `${title}|${text}`;
  if (byId('empty').dataset.key === key && byId('empty').children.length) return;
  byId('empty').dataset.key = key;
  const again = make('button', { type: 'button', class: 'ghost' }, 'Show all routes');
  again.addEventListener('click', () => { byId('search').value = ''; select({ search: '', state: 'all' }); });
  byId('empty').replaceChildren(make('div', { class: 'empty' }, make('b', {}, title), make('span', {}, text), none ? null : again));
};

const showPager = () => {
  const first = selected.after.length * PAGE;
  byId('pager').hidden = shown.matching <= PAGE && !first;
  write(byId('range'), `${whole.format(first + 1)}–${whole.format(first + shown.routes.length)} of ${many(shown.matching, 'route')}, those in trouble first`);
  byId('prev').disabled = !first;
  byId('next').disabled = !shown.next;
};
byId('next').addEventListener('click', () => { if (shown.next) select({ after: [...selected.after, shown.next] }); });
byId('prev').addEventListener('click', () => select({ after: selected.after.slice(0, -1) }));

const select = (change) => {
  selected = { after: [], ...('after' in change ? { search: selected.search, state: selected.state } : selected), ...change };
  if (!('after' in change)) selected.after = [];
  const query = new URLSearchParams();
  if (selected.search) query.set('search', selected.search);
  if (selected.state !== 'all') query.set('state', selected.state);
  history.replaceState(null, '', `#/${String(query) ? `?${query}` : ''}`);
  if (status) showChips();
  refresh(true);
};
let typing = null;
byId('search').addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(() => select({ search: byId('search').value.trim() }), 150);
});
