//! The status for people: what is wrong first, a line for each route, with the last minutes as a row of blocks.

use std::time::Duration;

use crate::{
    cli::terminal::{Abilities, clean},
    control::status::model::{History, Route, Severity, Status},
};

/// How many blocks a row has, each for as much of the history as that is divided into.
const BLOCKS: usize = 20;
/// From nothing to the most.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The same without Unicode.
const PLAIN_HEIGHTS: [char; 8] = ['_', '.', '.', ':', ':', '|', '|', '#'];

/// The process in a line or two, and then a line for each route.
pub(super) fn page(status: &Status, abilities: Abilities) -> String {
    let totals = &status.totals;
    let mut page = format!("broadcaster {}", process(status, abilities));
    let states = &totals.severities;
    page.push_str(&format!(
        "{} routes: {} error, {} warning, {} held, {} ok, {} idle; {}/s delivered, {}/s failed, {} in hand\n",
        totals.routes,
        states.error,
        states.warning,
        states.held,
        states.ok,
        states.idle,
        rate(totals.rates.delivered),
        rate(totals.rates.failed),
        totals.messages.in_hand
    ));
    for route in &status.routes {
        page.push_str(&line(route, abilities));
        page.push('\n');
    }
    if status.matching > status.routes.len() {
        page.push_str(&format!(
            "… and {} more: --limit, --search, --troubled\n",
            status.matching - status.routes.len()
        ));
    }
    page
}

/// The process: whether it is ready, and what is wrong with it.
pub(super) fn process(status: &Status, abilities: Abilities) -> String {
    let uptime = humantime::format_duration(Duration::from_secs(whole(status.uptime)));
    let ready = if status.health.ready { abilities.green("ready") } else { abilities.red("not ready") };
    let mut words =
        format!("{} up {uptime}: {ready}, generation {}\n", clean(&status.version), status.generation);
    for reason in &status.health.reasons {
        words.push_str(&format!("  {}\n", clean(reason)));
    }
    if status.health.more > 0 {
        words.push_str(&format!("  and {} more\n", status.health.more));
    }
    for complaint in &status.configuration.complaints {
        words.push_str(&format!("  configuration: {}\n", clean(complaint)));
    }
    for lane in status.lanes.iter().filter(|lane| !lane.connection.connected) {
        let trouble = lane.connection.trouble.as_deref().unwrap_or("no connection to NATS yet");
        words.push_str(&format!("  lane {}: {}\n", lane.lane, clean(trouble)));
    }
    words
}

/// One route.
pub(in crate::cli) fn line(route: &Route, abilities: Abilities) -> String {
    let (fancy, plain) = match route.severity {
        Severity::Error => ("✗", "x"),
        Severity::Warning => ("!", "!"),
        Severity::Held => ("‖", "="),
        Severity::Ok => ("✓", "+"),
        Severity::Idle => ("·", "-"),
    };
    let sign = if abilities.unicode { fancy } else { plain };
    let sign = match route.severity {
        Severity::Error => abilities.red(sign),
        Severity::Warning | Severity::Held => abilities.yellow(sign),
        Severity::Ok | Severity::Idle => abilities.green(sign),
    };
    let delivered = route.history.as_ref().map(|history| blocks(history, abilities)).unwrap_or_default();
    let cause = route.cause.as_ref().map(|cause| format!(" ({})", clean(cause))).unwrap_or_default();
    let latency =
        route.latency.map(|latency| format!(", p99 {:.0} ms", latency.p99 * 1_000.0)).unwrap_or_default();
    let in_hand = match route.messages.in_hand {
        0 => String::new(),
        some => format!(", {some} in hand"),
    };
    let name = clean(&route.name);
    format!("{sign} {name:<20} {delivered:<BLOCKS$} {}{cause}{latency}{in_hand}", clean(&route.text))
}

/// What was delivered in the last minutes, each block the mean of its part, as high as it is beside the highest.
fn blocks(history: &History, Abilities { unicode, .. }: Abilities) -> String {
    let heights = if unicode { HEIGHTS } else { PLAIN_HEIGHTS };
    let part = history.delivered.len().div_ceil(BLOCKS).max(1);
    let parts: Vec<_> = history.delivered.chunks(part).map(|part| part.iter().sum::<f32>()).collect();
    let most = parts.iter().copied().fold(0.0_f32, f32::max);
    let height = |value: &f32| {
        // Nothing at all is the only thing that looks like it.
        let share = if most > 0.0 { value / most } else { 0.0 };
        let steps = [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75];
        let index = if share > 0.0 { steps.iter().filter(|step| share > **step).count() } else { 0 };
        heights.get(index).copied().unwrap_or_default()
    };
    parts.iter().map(height).collect()
}

/// A number that is easy to read: without digits behind the point where it is large.
pub(super) fn rate(rate: f64) -> String {
    if rate >= 10.0 || rate == 0.0 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}

fn whole(seconds: f64) -> u64 {
    Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Abilities = Abilities { colours: false, clears: false, unicode: true };

    #[test]
    fn blocks_are_as_high_as_their_part_beside_the_highest() {
        let mut delivered = vec![0.0; 40];
        delivered.extend([1.0, 1.0, 4.0, 4.0, 8.0, 8.0]);
        let history = History { delivered, ..History::default() };
        let row = blocks(&history, PLAIN);
        assert!(row.chars().count() <= BLOCKS && row.starts_with("▁▁▁"), "{row}");
        assert!(row.ends_with('█') || row.contains('█'), "{row}");
        assert!(blocks(&history, Abilities { unicode: false, ..PLAIN }).is_ascii());
        assert_eq!(blocks(&History::default(), PLAIN), "");
    }

    #[test]
    fn a_page_says_first_what_is_wrong() {
        let mut status = Status { version: "1".to_owned(), uptime: 62.5, ..Status::default() };
        status.health.reasons = vec!["route a: no \u{1b}".to_owned()];
        let page = page(&status, PLAIN);
        assert!(
            page.starts_with("broadcaster 1 up 1m 2s: not ready, generation 0\n  route a: no ·\n"),
            "{page}"
        );
        assert_eq!(
            (rate(0.0), rate(2.34), rate(812.4)),
            ("0".to_owned(), "2.3".to_owned(), "812".to_owned())
        );
    }
}
