// What stands around the list: whether the process is ready, all routes together, NATS.

const showReady = () => {
  const pill = byId('ready');
  const [severity, text] = isLost ? ['warning', 'Connection lost'] : !status ? ['idle', 'Loading']
    : status.health.ready ? ['ok', 'Ready'] : ['error', 'Not ready'];
  attribute(pill, 'data-severity', severity);
  attribute(pill.querySelector('use'), 'href', `#i-${severity}`);
  write(pill.lastElementChild, text);
  const troubled = status ? status.totals.severities.error + status.totals.severities.warning : 0;
  document.title = `${isLost ? '⚠ ' : troubled ? `(${troubled}) ` : ''}broadcaster`;
};

const banner = (severity, title, lines) => make('div', { class: 'banner', 'data-severity': severity }, icon(severity),
  make('div', {}, make('b', {}, title), lines.length ? make('ul', {}, ...lines.map((line) => make('li', {}, line))) : null));
let noticed = '';
const showNotices = () => {
  const notices = [];
  if (isLost) {
    const since = heardAt ? `What is shown is of ${new Date(heardAt).toLocaleTimeString('en', { hour12: false })}.` : '';
    notices.push(['warning', 'Connection to the daemon lost, trying again', since ? [since] : []]);
  }
  if (status && !status.health.ready) {
    const { reasons, more } = status.health;
    notices.push(['error', 'Not ready: messages of some routes are not taken', more ? [...reasons, `and ${count(more)} more`] : reasons]);
  }
  if (status && status.configuration.complaints.length) {
    notices.push(['warning', 'The configuration as it is now does not count', status.configuration.complaints]);
  }
  const key = JSON.stringify(notices);
  if (key === noticed) return;
  noticed = key;
  byId('notices').replaceChildren(...notices.map((notice) => banner(...notice)));
};

const line = (values, most, width = POINTS, height = 32) => {
  const top = most || 1;
  const from = POINTS - values.length;
  const x = (index) => (((from + index) / (POINTS - 1)) * width).toFixed(1);
  const y = (value) => (height - 1 - (value / top) * (height - 2)).toFixed(1);
  return values.map((value, index) => `${index ? 'L' : 'M'}${x(index)} ${y(value)}`).join('');
};
const spark = (svg, values, least = 0) => {
  const largest = Math.max(0, ...values);
  const isFlat = largest === 0;
  const most = Math.max(largest, least);
  svg.classList.toggle('flat', isFlat);
  const path = values.length > 1 ? line(values, most) : '';
  const from = (((POINTS - values.length) / (POINTS - 1)) * POINTS).toFixed(1);
  attribute(svg.querySelector('.line'), 'd', path);
  attribute(svg.querySelector('.area'), 'd', path && !isFlat ? `${path}L${POINTS} 32L${from} 32Z` : '');
};

const showTiles = () => {
  const { totals: all, lanes, connections } = status;
  const waiting = all.load.queue.messages + all.load.retry.messages;
  write(byId('version'), status.version);
  byId('version').title = status.commit;
  write(byId('uptime'), span(status.uptime));
  write(byId('generation'), whole.format(status.generation));
  byId('generation').title = `the configuration of ${new Date(status.configuration.applied).toLocaleString('en', { hour12: false })}`;
  write(byId('t-delivered'), rate(all.rates.delivered));
  write(byId('n-delivered'), `${count(all.messages.delivered)} of ${count(all.messages.received)} since the start`);
  write(byId('t-failed'), rate(all.rates.failed));
  write(byId('n-failed'), all.rates.failed > 0 ? 'tried again, or given up' : 'none in the last seconds');
  write(byId('t-waiting'), count(waiting));
  write(byId('n-waiting'), `${bytes(all.load.queue.bytes + all.load.retry.bytes)}, ${count(all.load.in_flight)} in flight`);
  const { dead_lettered: dead, dropped, filtered, returned, handed_over: over } = all.messages;
  write(byId('t-dead'), count(dead + dropped));
  const rest = [[dead, dead === 1 ? 'dead letter' : 'dead letters'], [dropped, 'dropped'], [filtered, 'filtered'], [returned, 'given back'], [over, 'handed over']];
  const told = rest.filter(([n]) => n > 0).map(([n, what]) => `${count(n)} ${what}`);
  if (all.load.letters.messages) told.unshift(`${count(all.load.letters.messages)} on their way`);
  write(byId('n-dead'), told.join(', ') || 'none since the start');
  attribute(byId('t-dead').closest('.tile'), 'data-severity', dropped > 0 ? 'error' : null);
  const every = [...lanes.map((lane) => lane.connection), ...connections];
  const up = every.filter((connection) => connection.connected).length;
  write(byId('t-nats'), `${up}/${every.length}`);
  attribute(byId('t-nats').closest('.tile'), 'data-severity', up < every.length ? 'error' : null);
  const servers = [...new Set(every.filter((one) => one.connected && one.server).map((one) => one.server))];
  write(byId('n-nats'), servers.length > 1 ? `${servers[0]} and ${servers.length - 1} more` : servers[0] || 'not connected');
  if (totals) {
    spark(byId('s-delivered'), totals.delivered);
    spark(byId('s-failed'), totals.failed, 1);
  }
};

const showConnections = () => {
  const lanes = status.lanes.map((lane) => ({ ...lane.connection, name: lane.connection.name || `lane ${lane.lane}`, lane }));
  const every = [...lanes, ...status.connections];
  const body = byId('connections');
  while (body.children.length < every.length) {
    body.append(make('tr', {}, make('th', { scope: 'row' }), make('td', { class: 'wraps' }), make('td'), make('td', { class: 'num' }), make('td', { class: 'num' }), make('td', { class: 'num' }), make('td')));
  }
  while (body.children.length > every.length) body.lastChild.remove();
  every.forEach((one, index) => {
    const [name, state, server, trip, reconnects, cuts, runs] = body.children[index].children;
    const stuck = one.lane && one.lane.silent > 10 ? ['error', `has not moved for ${span(one.lane.silent)}`] : null;
    const [severity, text] = stuck || (one.connected ? ['ok', 'connected'] : ['error', one.trouble || 'not connected']);
    write(name, one.name);
    if (state.dataset.key !== severity + text) {
      state.dataset.key = severity + text;
      state.replaceChildren(make('span', { class: 'tag', 'data-severity': severity }, icon(severity), text));
    }
    write(server, one.server || '–');
    write(trip, seconds(one.round_trip));
    write(reconnects, whole.format(one.reconnects));
    write(cuts, whole.format(one.cuts));
    write(runs, one.lane ? (one.lane.current ? 'latest list' : 'changing to the latest list') : '–');
  });
};

byId('process').addEventListener('toggle', async () => {
  if (!byId('process').open) return;
  try {
    write(byId('settings'), (await ask('/api/v1/status/configuration')).toml);
  } catch { write(byId('settings'), 'The daemon does not answer.'); }
});
