//! What was measured, as a table for people and as JSON for machines.

use std::{collections::BTreeMap, fmt};

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use serde::Serialize;

use crate::{
    case::Case,
    figures::Sample,
    goals::{Goal, Medians, Wanted},
    options::Options,
};

/// The medians of all rounds.
#[derive(Serialize)]
pub(crate) struct Report {
    commit: &'static str,
    machine: String,
    rounds: usize,
    size: usize,
    concurrency: usize,
    lanes: usize,
    own_receiver: bool,
    pub(crate) cases: Vec<Row>,
    goals: Vec<Goal>,
}

/// A case.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) case: &'static str,
    messages: usize,
    #[serde(flatten)]
    pub(crate) median: Sample,
    /// CPU time per message, of the yardstick's.
    pub(crate) ratio: Option<f64>,
    /// Whether it goes as fast as it can: the CPU times of such cases can be compared.
    pub(crate) at_full_speed: bool,
    rounds: Vec<Sample>,
}

impl Report {
    pub(crate) fn new(
        options: &Options,
        machine: String,
        cases: &[Case],
        samples: &BTreeMap<&'static str, Vec<Sample>>,
    ) -> Self {
        let medians: Medians =
            samples.iter().map(|(&name, samples)| (name, Sample::median(samples))).collect();
        let row = |case: &Case| {
            let median = medians[case.name].clone();
            let yardstick = case.yardstick.and_then(|name| medians.get(name)?.cpu);
            let ratio = median.cpu.zip(yardstick).map(|(cpu, yardstick)| cpu / yardstick);
            let rounds = samples[case.name].clone();
            Row {
                case: case.name,
                messages: case.messages,
                median,
                ratio,
                at_full_speed: case.at_full_speed(),
                rounds,
            }
        };
        // The comparisons are between the built-in parts; a receiver of the user's has its own ways.
        let goals = if options.webhook.is_none() { Goal::list(&medians) } else { Vec::new() };
        Self {
            commit: broadcaster::COMMIT,
            machine,
            rounds: options.rounds,
            size: options.size,
            concurrency: options.concurrency,
            lanes: options.lanes,
            own_receiver: options.webhook.is_some(),
            cases: cases.iter().map(row).collect(),
            goals,
        }
    }

    /// For machines.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("figures can be written")
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(ASCII_MARKDOWN).set_header([
            "case",
            "messages",
            "messages/s",
            "CPU µs/msg",
            "×",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "idle MiB",
            "peak MiB",
            "dropped",
            "lost",
            "duplicates",
        ]);
        for row in &self.cases {
            let Sample { rate, cpu, latency, idle, peak, dropped, lost, duplicates, .. } = row.median;
            let some = |figure: Option<f64>, digits: usize| {
                figure.map_or_else(String::new, |figure| format!("{figure:.digits$}"))
            };
            let millis = |index: usize| some(latency.map(|latency| latency[index] / 1e3), 3);
            table.add_row([
                row.case.to_owned(),
                row.messages.to_string(),
                format!("{rate:.0}"),
                some(cpu, 2),
                some(row.ratio, 2),
                millis(0),
                millis(1),
                millis(2),
                some(idle, 1),
                format!("{peak:.1}"),
                dropped.to_string(),
                lost.to_string(),
                duplicates.to_string(),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    fn goals(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(ASCII_MARKDOWN).set_header(["goal", "wanted", "measured", ""]);
        for goal in &self.goals {
            let (sign, bound) = match goal.wanted {
                Wanted::AtMost(bound) => ('≤', bound),
                Wanted::AtLeast(bound) => ('≥', bound),
            };
            table.add_row([
                goal.what.to_owned(),
                format!("{sign} {bound} {}", goal.unit),
                format!("{:.2} {}", goal.measured, goal.unit),
                if goal.is_met() { "met" } else { "not met" }.to_owned(),
            ]);
        }
        table
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, rounds, size, concurrency, lanes, .. } = self;
        writeln!(
            f,
            "{machine}; messages of {size} bytes, concurrency {concurrency}, lanes {lanes}; medians of {rounds} rounds"
        )?;
        if self.own_receiver {
            writeln!(f, "Times are upper bounds, from receiving to delivering, as the daemon tells them.")?;
        }
        writeln!(f, "\n{}", self.table())?;
        if !self.goals.is_empty() {
            writeln!(f, "\n{}", self.goals())?;
        }
        Ok(())
    }
}
