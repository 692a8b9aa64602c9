//! The older text format of Prometheus (0.0.4), which much that reads metrics still expects.

/// `open_metrics` in the older format. A counter is named there as its samples are, and there is no end mark
/// (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
pub(super) fn from_open_metrics(open_metrics: &str) -> String {
    let mut counters = Vec::new();
    for line in open_metrics.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter")) {
            counters.push(name);
        }
    }
    let mut classic = String::with_capacity(open_metrics.len() + 16 * counters.len());
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        match described(line) {
            Some((keyword, name, rest)) if counters.contains(&name) => {
                classic.extend(["# ", keyword, " ", name, "_total ", rest]);
            }
            _ => classic.push_str(line),
        }
        classic.push('\n');
    }
    classic
}

/// The parts of a `# HELP name text` or `# TYPE name kind`.
fn described(line: &str) -> Option<(&str, &str, &str)> {
    let mut parts = line.strip_prefix("# ")?.splitn(3, ' ');
    Some((parts.next()?, parts.next()?, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_under_the_name_of_their_samples() {
        let open_metrics = "# HELP a Things.\n# TYPE a counter\na_total{route=\"x\"} 1\n\
                            # HELP b Others.\n# TYPE b gauge\nb 2\n# EOF\n";
        let classic = "# HELP a_total Things.\n# TYPE a_total counter\na_total{route=\"x\"} 1\n\
                       # HELP b Others.\n# TYPE b gauge\nb 2\n";
        assert_eq!(from_open_metrics(open_metrics), classic);
    }
}
