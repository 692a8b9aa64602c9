// Keys, colours, and the begin of it all.

addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId('detail').open) return;
  const inSearch = document.activeElement === byId('search');
  if (event.key === '/' && !inSearch) {
    event.preventDefault();
    byId('search').focus();
    byId('search').select();
  } else if (event.key === 'Escape' && inSearch) {
    byId('search').value = '';
    byId('search').blur();
    if (selected.search) select({ search: '' });
  } else if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
    const links = [...byId('rows').querySelectorAll('a')];
    const at = links.indexOf(document.activeElement);
    if (at < 0 && !inSearch && document.activeElement !== document.body) return;
    const next = event.key === 'ArrowDown' ? links[at + 1] : at > 0 ? links[at - 1] : null;
    if (!next && event.key === 'ArrowUp' && at === 0) { event.preventDefault(); return void byId('search').focus(); }
    if (next) { event.preventDefault(); next.focus(); }
  } else if (event.key === 'Enter' && inSearch && shown && shown.routes.length) {
    const first = byId('rows').querySelector('a');
    if (first) first.click();
  }
});

// --- light and dark

const THEMES = ['auto', 'light', 'dark'];
let theme = 'auto';
try { theme = localStorage.getItem('theme') || 'auto'; } catch { /* no storage, no memory */ }
const showTheme = () => {
  if (!THEMES.includes(theme)) theme = 'auto';
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  write(byId('theme-name'), theme[0].toUpperCase() + theme.slice(1));
  byId('theme').setAttribute('aria-label', `Colours: ${theme}`);
};
byId('theme').addEventListener('click', () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  try { localStorage.setItem('theme', theme); } catch { /* the same */ }
  showTheme();
});
showTheme();

// --- all of it

const show = () => {
  if (!status) return;
  showReady();
  showNotices();
  showTiles();
  showChips();
  showConnections();
  if (shown) showRows();
  showUpdated();
};
const showUpdated = () => {
  const ago = Math.round((Date.now() - heardAt) / 1000);
  if (heardAt) write(byId('updated'), isLost || ago > 3 ? `Last heard of ${span(ago)} ago` : `Live, as of ${clock(heardAt)}`);
};

for (let bone = 0; bone < 4; bone += 1) {
  byId('rows').append(make('tr', {}, ...[38, 70, 60, 50, 60, 60].map((width, at) => {
    const cell = make(at ? 'td' : 'th', at ? { class: ['', 'c-flow', 'c-rate', 'c-lat', 'c-fail', 'c-queue'][at] } : { scope: 'row' }, make('div', { class: 'bone' }));
    cell.firstChild.style.width = `${width}%`;
    if (!at) cell.append(make('span', { class: 'hidden' }, 'Loading'));
    return cell;
  })));
}
setInterval(() => {
  showUpdated();
  if (document.hidden) return;
  follow();
  if (!isDefault() || !isFollowing()) refresh(false);
  // Nothing for a while over a connection that looks fine: it may lead nowhere any more.
  if (heardAt && Date.now() - heardAt > 6000) { lose(); listen(); heardAt = Math.max(heardAt, Date.now() - 3000); }
}, 1000);
setInterval(() => { if (!document.hidden) refresh(true); }, 60000);
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return void source.close();
  listen();
  refresh(true);
});
listen();
read();
refresh(true);
