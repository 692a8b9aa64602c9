//! The older text format of Prometheus (0.0.4), which much that reads metrics still expects.

use std::fmt;

/// Has what is written to it as OpenMetrics written to `W` in the older format. A counter is named there as its samples
/// are, and there is no end mark (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
pub(super) struct Classic<'w, W> {
    to: &'w mut W,
    line: String,
    /// The latest line of help. The type, which says what it has to be called, comes behind it.
    help: String,
}

impl<'w, W: fmt::Write> Classic<'w, W> {
    pub(super) const fn of(to: &'w mut W) -> Self {
        Self { to, line: String::new(), help: String::new() }
    }

    fn end_line(&mut self) -> fmt::Result {
        let Self { to, line, help } = self;
        if line.starts_with("# HELP ") {
            std::mem::swap(help, line);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            let end = if kind == "counter\n" { "_total" } else { "" };
            let help = help.strip_prefix("# HELP ").and_then(|help| help.strip_prefix(name)).unwrap_or("\n");
            write!(to, "# HELP {name}{end}{help}# TYPE {name}{end} {kind}")?;
        } else if line != "# EOF\n" {
            to.write_str(line)?;
        }
        self.line.clear();
        Ok(())
    }
}

impl<W: fmt::Write> fmt::Write for Classic<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\n') {
            self.line.push_str(part);
            if part.ends_with('\n') {
                self.end_line()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fmt::Write as _;

    use super::*;

    #[test]
    fn counters_are_described_under_the_name_of_their_samples() {
        let open_metrics = "# HELP a Things.\n# TYPE a counter\na_total{route=\"x\"} 1\n\
                            # HELP b Others.\n# TYPE b gauge\nb 2\n# EOF\n";
        let expected = "# HELP a_total Things.\n# TYPE a_total counter\na_total{route=\"x\"} 1\n\
                        # HELP b Others.\n# TYPE b gauge\nb 2\n";
        for size in [1, 7, open_metrics.len()] {
            let mut written = String::new();
            let mut classic = Classic::of(&mut written);
            for part in open_metrics.as_bytes().chunks(size) {
                classic.write_str(std::str::from_utf8(part).unwrap()).unwrap();
            }
            assert_eq!(written, expected, "in parts of {size}");
        }
    }
}
