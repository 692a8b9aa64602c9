//! How the replicas follow the load: the rules of the autoscalers in `k8s/`, reckoned second by second with what a pod was
//! measured to carry. Prints the tables of docs/scaling.md, and draws its charts:
//!
//! ```sh
//! cargo bench --bench load -- --scenario pod --json docs/scaling.json
//! cargo run --example scaling -- --figures docs/scaling.json --charts docs
//! ```
#![expect(clippy::print_stdout, reason = "printing figures is its job")]

mod autoscaler;
mod chart;
mod curve;
mod fleet;
mod pod;
mod simulation;

use std::{fs, path::PathBuf};

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};

use autoscaler::{Autoscaler, Rules};
use curve::Curve;
use pod::Pod;
use simulation::{Simulation, Summary};

/// Reckons how the replicas follow the load.
#[derive(Debug, Parser)]
struct Options {
    /// What a pod carries: the JSON of `cargo bench --bench load -- --scenario pod`
    #[arg(long, value_name = "FILE")]
    figures: PathBuf,

    /// Draw the charts into this folder, as SVG
    #[arg(long, value_name = "FOLDER")]
    charts: Option<PathBuf>,
}

fn main() {
    let options = Options::parse();
    let text = fs::read_to_string(&options.figures).expect("the file of figures can be read");
    let pod = Pod::from_json(&text);
    println!("{}", carried(&pod));
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header([
        "load",
        "rule",
        "replicas",
        "pod hours",
        "seconds with a backlog",
        "longest wait, s",
        "largest lag",
        "turned away",
    ]);
    for curve in Curve::ALL {
        let runs = Rules::ALL.map(|rules| Simulation::new(&pod, Autoscaler::new(rules)).run(curve));
        for run in &runs {
            let Summary { replicas, pod_hours, overloaded, delay, lag, turned_away } = run.summary();
            table.add_row([
                curve.name.to_owned(),
                run.rule.to_owned(),
                format!("{}–{}", replicas.start(), replicas.end()),
                format!("{pod_hours:.1}"),
                overloaded.to_string(),
                format!("{delay:.0}"),
                format!("{lag:.0}"),
                format!("{turned_away:.0}"),
            ]);
        }
        if let Some(folder) = &options.charts {
            chart::draw(curve.name, &runs, &folder.join(format!("scaling-{}.svg", curve.key)));
        }
    }
    println!("{}", right(table));
}

/// What one pod carries, and what it takes of its quota.
fn carried(pod: &Pod) -> Table {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header([
        "messages/s",
        "CPU µs/msg",
        "of the quota",
        "p50 ms",
        "p99 ms",
    ]);
    for point in &pod.points {
        table.add_row([
            format!("{:.0}", point.rate),
            format!("{:.1}", point.cost),
            format!("{:.0} %", 100.0 * point.utilization()),
            format!("{:.1}", point.p50),
            format!("{:.1}", point.p99),
        ]);
    }
    right(table)
}

fn right(mut table: Table) -> Table {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
