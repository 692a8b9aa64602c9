//! The whole daemon under load: `cargo bench --bench load`, or with options: `cargo bench --bench load -- --help`.
//!
//! A real nats-server, a receiver and a publisher of its own, and the daemon as a process. Machines are noisy, so all
//! [cases](case) take turns, round by round, and their medians are compared; each is held against a [yardstick](floor)
//! that does only what can't be avoided. CPU time is the figure to look at: the rate also depends on what the others
//! on the machine leave.
#![expect(clippy::print_stdout, reason = "printing figures is its job")]

mod case;
mod chart;
mod crowd;
mod daemon;
mod figures;
mod floor;
mod goals;
mod link;
mod machine;
mod options;
mod publisher;
mod quota;
mod receiver;
mod relay;
mod report;
mod standing;

use std::{collections::BTreeMap, fs};

use clap::Parser as _;
use indicatif::{ProgressBar, ProgressStyle};

use case::Case;
use figures::Sample;
use machine::Processors;
use options::Options;
use report::Report;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // The yardsticks are processes too: this program, run again.
    if let Some(task) = floor::Task::given() {
        return floor::run(&task);
    }
    if let Some(task) = relay::Task::given() {
        return runtime.block_on(relay::run(task));
    }
    let options = Options::parse();
    for left_out in options.scenarios().1 {
        eprintln!("{left_out:?} is left out: it is for the built-in receiver only");
    }
    let cases = Case::list(&options);
    let processors = Processors::available();
    let samples = runtime.block_on(measure(&cases, &options, &processors));
    let report = Report::new(&options, processors.describe(), &cases, &samples);
    println!("{report}");
    if let Some(file) = &options.json {
        fs::write(file, report.json()).expect("the JSON file can be written");
    }
    if let Some(file) = &options.chart {
        chart::draw(&report, file);
    }
}

/// Runs every case in every round.
async fn measure(
    cases: &[Case],
    options: &Options,
    processors: &Processors,
) -> BTreeMap<&'static str, Vec<Sample>> {
    let mut samples = BTreeMap::<_, Vec<_>>::new();
    let style = "{prefix:12} {msg:>12} {bar:30} {human_pos:>9} of {human_len} messages, {per_sec}, {elapsed}";
    let style = ProgressStyle::with_template(style).expect("a good template");
    for round in 1..=options.rounds {
        for case in cases.iter().filter(|case| round == 1 || case.repeated()) {
            let progress = ProgressBar::new(case.messages as u64).with_style(style.clone());
            progress.set_prefix(format!("round {round} of {}", options.rounds));
            progress.set_message(case.name);
            samples.entry(case.name).or_default().push(case.run(options, processors, &progress).await);
            progress.finish_and_clear();
        }
    }
    samples
}
