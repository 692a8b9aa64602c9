// One route, in a drawer.

let drawer = null;
const open = (name) => {
  const mark = icon('idle'), text = make('span'), cause = make('p', { class: 'cause' });
  const head = make('div', { class: 'd-head' }, make('div', {}, make('h2', { id: 'd-name', tabindex: '-1' }, name), make('p', {}, mark, text), cause));
  const close = make('button', { type: 'button', class: 'ghost', 'aria-label': 'Close' }, icon('close'));
  close.addEventListener('click', () => byId('detail').close());
  head.append(close);
  const flow = chart('Throughput', [{ name: 'delivered', tone: '' }, { name: 'failed attempts', tone: 'bad' }], '/s', `Messages delivered and attempts failed per second in the last ten minutes, ${name}`);
  const answers = chart('Answers in', [{ name: 'half of them', tone: '' }, { name: '99 of 100', tone: 'second' }], 's', `How long attempts took in the last ten minutes, ${name}`);
  const hand = pairs(), about = pairs(), ends = pairs(), letters = pairs();
  const next = make('p', { class: 'note' }, 'Look at them with ', make('code', {}, `broadcaster dead-letters list --route ${name}`), ', and deliver them after all with ', make('code', {}, 'replay'), ' in the place of ', make('code', {}, 'list'), ', or by the API.');
  const graves = make('ol', { class: 'fails' });
  const dead = make('section', { class: 'panel' }, make('h3', {}, 'Dead letters'), letters.list, graves, next);
  const fails = make('ol', { class: 'fails' }), warnings = make('div'), lanes = make('tbody'), settings = make('pre', { tabindex: '0', 'aria-label': 'Settings' });
  const none = make('p', { class: 'note' }, 'No attempt has failed since the start of the process.');
  byId('drawer').replaceChildren(head, warnings, flow.element, answers.element,
    make('section', { class: 'panel' }, make('h3', {}, 'In hand, of what there is room for'), hand.list),
    make('section', { class: 'panel' }, make('h3', {}, 'Latest failed attempts'), fails, none),
    dead,
    make('section', { class: 'panel' }, make('h3', {}, 'From and to'), about.list),
    make('section', { class: 'panel' }, make('h3', {}, 'Messages since the start'), ends.list),
    make('section', { class: 'panel' }, make('h3', {}, 'Lanes'), make('div', { class: 'scroll' }, make('table', { class: 'plain' },
      make('thead', {}, make('tr', {}, ...['Lane', 'Messages', 'In flight', 'Waiting'].map((title, at) => make('th', { scope: 'col', class: at > 1 ? 'num' : null }, title)))), lanes))),
    make('section', { class: 'panel' }, make('h3', {}, 'Settings', make('span', { class: 'legend' }, 'defaults too, secrets masked')), settings));
  let failed = '', ran = '', warned = '', buried = '';
  const update = (news) => {
    const { route } = news;
    attribute(head, 'data-severity', route.severity);
    attribute(mark.firstChild, 'href', `#i-${route.severity}`);
    write(text, route.text);
    write(cause, why(route.cause));
    cause.hidden = !route.cause;
    const history = route.history || { delivered: [], failed: [], p50: [], p99: [] };
    flow.update([history.delivered, history.failed]);
    answers.update([history.p50, history.p99]);
    const { load, bounds, source: from, webhook, messages } = route;
    const amount = (one, bound) => `${count(one.messages)} of ${count(bound.messages)}, ${bytes(one.bytes)} of ${bytes(bound.bytes)}`;
    const fullest = (one, bound) => Math.max(percent(one.messages, bound.messages), percent(one.bytes, bound.bytes));
    hand.set('Queue', amount(load.queue, bounds.queue), fullest(load.queue, bounds.queue), 100);
    hand.set('Retries', amount(load.retry, bounds.retry), fullest(load.retry, bounds.retry), 100);
    const limit = bounds.concurrency < bounds.max_concurrency ? `${count(bounds.concurrency)} now (${count(bounds.max_concurrency)} at most)` : count(bounds.concurrency);
    hand.set('Attempts under way', `${count(load.in_flight)} of ${limit}`, load.in_flight, bounds.concurrency);
    hand.set('Dead letters on their way', bounds.letters.messages ? amount(load.letters, bounds.letters) : 'kept nowhere: dropped and counted', fullest(load.letters, bounds.letters), 100);
    about.set('Subject', from.subject);
    if (from.consumer) {
      about.set('Stream and consumer', `${from.consumer.stream}, ${from.consumer.consumer}`);
      about.set('Still in the stream', `${count(from.consumer.pending)} not delivered, ${count(from.consumer.ack_pending)} not acknowledged`);
    } else about.set('Queue group', from.queue_group);
    about.set('Webhook', `${webhook.method} ${webhook.url}`);
    about.set('HTTP', webhook.http);
    about.set('Last message', route.last_message === undefined ? 'none since the start' : `${span(route.last_message)} ago`);
    for (const [key, title] of [['received', 'Received'], ['delivered', 'Delivered'], ['in_hand', 'In hand'], ['dead_lettered', 'Dead-lettered'], ['dropped', 'Dropped'], ['filtered', 'Filtered'], ['returned', 'Given back'], ['handed_over', 'Handed over']]) {
      ends.set(title, whole.format(messages[key]));
    }
    const kept = news.dead_letters;
    dead.hidden = !kept;
    if (kept) {
      letters.set('Kept now', kept.kept === undefined ? 'not known: no stream has told' : whole.format(kept.kept));
      letters.set('Published to', kept.subject);
      next.hidden = !kept.kept;
      const recent = JSON.stringify(kept.recent);
      graves.hidden = !kept.recent.length;
      if (recent !== buried) graves.replaceChildren(...kept.recent.map((one) => make('li', {},
        make('b', {}, one.reason), make('span', {}, make('code', {}, one.id)), make('span', { class: 'dim', title: one.at }, clock(one.at)))));
      buried = recent;
    }
    const key = JSON.stringify(news.failures);
    if (key !== failed) {
      failed = key;
      none.hidden = news.failures.length > 0;
      fails.replaceChildren(...news.failures.map((one) => make('li', {},
        make('b', {}, one.reason),
        make('span', {}, make('code', {}, one.id), one.messages > 1 ? ` and ${many(one.messages - 1, 'other message')}` : ''),
        make('span', { class: 'dim', title: one.at }, `attempt ${one.attempt}, ${clock(one.at)}`),
        one.cause ? make('p', { class: 'dim' }, one.cause) : null)));
    }
    const runs = JSON.stringify(news.lanes);
    if (runs !== ran) {
      ran = runs;
      lanes.replaceChildren(...news.lanes.map((lane) => {
        const severity = lane.trouble ? 'error' : 'ok';
        return make('tr', {}, make('th', { scope: 'row' }, `lane ${lane.lane}`),
          make('td', { class: 'wraps' }, make('span', { class: 'tag', 'data-severity': severity }, icon(severity), lane.trouble || 'come')),
          make('td', { class: 'num' }, count(lane.in_flight)), make('td', { class: 'num' }, count(lane.waiting)));
      }));
    }
    const odd = JSON.stringify(news.warnings);
    if (odd !== warned) {
      warned = odd;
      warnings.replaceChildren(...(news.warnings.length ? [banner('warning', 'Not as it should be, though messages come', news.warnings)] : []));
    }
    write(settings, news.settings);
  };
  const gone = () => {
    attribute(head, 'data-severity', 'warning');
    attribute(mark.firstChild, 'href', '#i-warning');
    write(text, 'no route of this name runs here');
  };
  return { name, update, gone };
};

const follow = async () => {
  const current = drawer;
  if (!current) return;
  try {
    const news = await ask(`/api/v1/status/routes/${encodeURIComponent(current.name)}`);
    if (drawer === current) current.update(news);
  } catch (error) {
    if (drawer === current && error.status === 404) current.gone();
  }
};

const read = () => {
  const route = location.hash.match(/^#\/routes\/(.+)$/);
  const dialog = byId('detail');
  if (route) {
    let name = route[1];
    try { name = decodeURIComponent(name); } catch { /* as it is */ }
    if (!drawer || drawer.name !== name) {
      opener = opener || document.activeElement;
      drawer = open(name);
      follow();
    }
    if (!dialog.open) dialog.showModal();
    byId('d-name').focus({ preventScroll: true });
    return;
  }
  if (dialog.open) dialog.close();
  const query = new URLSearchParams((location.hash.match(/^#\/\?(.*)$/) || [])[1]);
  const state = query.get('state') || 'all';
  const wanted = { search: query.get('search') || '', state: FILTERS.some(([known]) => known === state) ? state : 'all' };
  if (wanted.search !== selected.search || wanted.state !== selected.state) {
    byId('search').value = wanted.search;
    selected = { ...wanted, after: [] };
    refresh(true);
  }
};
byId('detail').addEventListener('close', () => {
  drawer = null;
  byId('drawer').replaceChildren();
  if (location.hash.startsWith('#/routes/')) {
    const query = new URLSearchParams();
    if (selected.search) query.set('search', selected.search);
    if (selected.state !== 'all') query.set('state', selected.state);
    history.replaceState(null, '', `#/${String(query) ? `?${query}` : ''}`);
  }
  if (opener && opener.isConnected) opener.focus();
  opener = null;
});
byId('detail').addEventListener('click', (event) => { if (event.target === byId('detail')) byId('detail').close(); });
addEventListener('hashchange', read);
addEventListener('resize', () => follow());
