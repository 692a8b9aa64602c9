// What the daemon says, as it says it; and what of it is said to who does not see it.

// What is shown.
let status = null;       // the latest status that was heard
let shown = null;        // what the table shows: routes, matching, next
let heardAt = 0;         // when it was heard last
let isLost = false;
let began = null;        // when the daemon began, to notice that it is another one
let selected = { search: '', state: 'all', after: [] };
let opener = null;
const histories = new Map();
let totals = null;       // the history of all routes together
let asked = new Set();   // the routes whose history has been asked for

const isDefault = () => !selected.search && selected.state === 'all' && !selected.after.length;
const address = (history) => {
  const query = new URLSearchParams({ limit: PAGE });
  if (selected.search) query.set('search', selected.search);
  if (selected.state !== 'all') query.set('state', selected.state);
  if (selected.after.length) query.set('after', selected.after[selected.after.length - 1]);
  if (history) query.set('history', 'true');
  return `/api/v1/status?${query}`;
};
const ask = async (path) => {
  const answer = await fetch(path, { headers: { accept: 'application/json' }, signal: AbortSignal.timeout(8000) });
  if (!answer.ok) throw Object.assign(new Error(`${answer.status}`), { status: answer.status });
  return answer.json();
};

let source = null;
let retryIn = 1000;
const isFollowing = () => source !== null && source.readyState === EventSource.OPEN;
const listen = () => {
  if (source) source.close();
  source = new EventSource('/api/v1/status/events');
  source.addEventListener('status', (event) => {
    retryIn = 1000;
    hear(JSON.parse(event.data), isDefault());
  });
  source.addEventListener('error', () => {
    // Where only the events are refused, since too many follow them, the status is asked for instead.
    refresh(false);
    // The browser tries again by itself, but not after an answer that is no stream.
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(() => { if (!document.hidden && source.readyState === EventSource.CLOSED) listen(); }, retryIn);
      retryIn = Math.min(retryIn * 2, 10000);
    }
  });
};
const lose = () => {
  if (isLost) return;
  isLost = true;
  say('Connection lost, trying again.');
  document.body.classList.add('stale');
  showNotices();
  showReady();
};

/** Takes note of a status; `listed` says whether its routes are those that are asked for. */
const hear = (news, listed) => {
  heardAt = Date.now();
  const start = Date.parse(news.at) - news.uptime * 1000;
  if (began !== null && Math.abs(start - began) > 5000) {
    histories.clear();
    asked.clear();
    totals = null;
    refresh(true);
  }
  began = start;
  if (isLost) {
    isLost = false;
    say('Connected again.');
    document.body.classList.remove('stale');
    refresh(true);
  }
  advance(news, listed ? news.routes : []);
  announce(news);
  status = news;
  if (listed) shown = news;
  show();
};

/** Lets histories grow by what is heard, so that they need not be asked for all the time. */
const advance = (news, routes) => {
  const grow = (history, rates, latency) => {
    if (!history || news.sample <= history.last) return true;
    if (news.sample !== history.last + 1) return false;
    push(history, rates, latency);
    history.last = news.sample;
    return true;
  };
  if (news.history) {
    totals = news.history;
    asked = new Set(routes.map((route) => route.name));
    for (const route of routes) if (route.history) histories.set(route.name, route.history);
  }
  let isWhole = grow(totals, news.totals.rates, null);
  for (const route of routes) {
    isWhole = grow(histories.get(route.name), route.rates, route.latency) && isWhole;
    isWhole = isWhole && (news.history || !asked.size || asked.has(route.name));
  }
  if (!isWhole) refresh(true);
};
const push = (history, rates, latency) => {
  const add = (list, value) => { list.push(value); if (list.length > POINTS) list.shift(); };
  add(history.delivered, rates.delivered);
  add(history.failed, rates.failed);
  add(history.p50, latency ? latency.p50 : null);
  add(history.p99, latency ? latency.p99 : null);
};

let asking = 0;
let isAsking = false;
/** Asks for what is selected. */
const refresh = async (history) => {
  // What is asked for every second waits for the answer before; whoever selects something else does not.
  if (isAsking && !history) return;
  const turn = ++asking;
  isAsking = true;
  try {
    const news = await ask(address(history));
    if (turn === asking) hear(news, true);
  } catch (error) {
    if (turn !== asking) return;
    if (error.status === 400 && selected.after.length) {
      selected.after = [];
      return void refresh(true);
    }
    if (!error.status) lose();
  } finally {
    if (turn === asking) isAsking = false;
  }
};

let said = 0;
let troubledBefore = null;
const say = (text) => { said = Date.now(); write(byId('said'), text); };
const announce = (news) => {
  const troubled = news.totals.severities.error + news.totals.severities.warning;
  if (troubledBefore !== null && troubled !== troubledBefore && Date.now() - said < 10000) return;
  if (troubledBefore !== null && troubled !== troubledBefore) {
    say(troubled === 0 ? 'All routes are well.' : `${many(troubled, 'route')} in trouble.`);
  }
  troubledBefore = troubled;
};
