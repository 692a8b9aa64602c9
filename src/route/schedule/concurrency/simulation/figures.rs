//! Writes the figures of docs/adaptive.md: the table, and the pictures. `make adaptive` runs it.

use std::{error::Error, fmt::Write as _, fs, path::Path};

use plotters::{coord::Shift, prelude::*};

use super::{
    Measure, Run,
    cases::{Case, Who, ms, refuses_more_than_50, replicas, steps},
    receiver::Receiver,
};

/// What stands before and after the table.
const MARKS: [&str; 2] = ["<!-- written by `make adaptive` -->\n", "<!-- until here -->"];
const COLOURS: [RGBColor; 5] = [
    RGBColor(38, 110, 180),
    RGBColor(140, 140, 140),
    RGBColor(200, 120, 30),
    RGBColor(170, 50, 120),
    RGBColor(60, 150, 70),
];

type Figure = fn(&Measure, usize) -> f64;
/// A name, the sender that it is of, and what happened.
type Line<'r> = (String, usize, &'r Run);

#[test]
#[ignore = "writes into docs: make adaptive"]
fn write_the_figures() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = docs.join("adaptive.md");
    let text = fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(MARKS[0]).unwrap();
    let (_, after) = rest.split_once(MARKS[1]).unwrap();
    let page_text = format!("{before}{}\n{}\n\n{}{after}", MARKS[0], table(), MARKS[1]);
    fs::write(&page, page_text).unwrap();
    draw(&docs).unwrap();
}

fn table() -> String {
    let mut table = String::from("| receiver |");
    Who::ALL.iter().for_each(|who| write!(table, " {} |", who.name()).unwrap());
    table.push_str("\n|---|---|---|---|---|");
    for case in Case::all() {
        write!(table, "\n| {} |", case.title).unwrap();
        for who in Who::ALL {
            let end = case.seconds as f64;
            let settled = case.run(who, 1).summary(end / 3.0, end);
            let (throughput, in_line, refused) =
                (100.0 * settled.throughput, settled.in_line, settled.refused);
            write!(table, " {throughput:.0} % · {in_line:.0} · {refused:.1} |").unwrap();
        }
    }
    table
}

fn draw(docs: &Path) -> Result<(), Box<dyn Error>> {
    let throughput: Figure = |second, _| second.delivered.iter().sum::<usize>() as f64;
    let limit: Figure = |second, sender| second.limits[sender] as f64;
    let latency: Figure = |second, _| 1000.0 * second.latency;
    let refused: Figure = |second, _| second.refused as f64;

    for (case, name, last) in [
        (steps(), "adaptive-steps.svg", ("latency, ms", latency)),
        (refuses_more_than_50(), "adaptive-refusals.svg", ("refusals/s", refused)),
    ] {
        let runs = Who::ALL.map(|who| (who, case.run(who, 1)));
        let lines: Vec<_> = runs.iter().map(|(who, run)| (who.name().to_owned(), 0, run)).collect();
        let panels = [("limit", limit), ("deliveries/s", throughput), last];
        picture(case.title, &lines, &panels, &docs.join(name))?;
    }

    let run = replicas(Receiver::new(64, ms(50)), 5, 20, ms(3), 200, 1);
    let lines: Vec<_> = (0..5).map(|sender| (format!("replica {}", sender + 1), sender, &run)).collect();
    let title = "64 servers, 50 ms; five replicas, one more each 20 s";
    let own: Figure = |second, sender| second.delivered[sender] as f64;
    let panels = [("limit", limit), ("deliveries/s", own), ("latency, ms", latency)];
    picture(title, &lines, &panels, &docs.join("adaptive-replicas.svg"))
}

fn picture(
    title: &str,
    lines: &[Line<'_>],
    panels: &[(&str, Figure)],
    file: &Path,
) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(file, (760, 560)).into_drawing_area();
    area.fill(&WHITE)?;
    let area = area.titled(title, ("sans-serif", 17))?;
    let areas = area.split_evenly((panels.len(), 1));
    for (number, (area, panel)) in areas.iter().zip(panels).enumerate() {
        draw_panel(area, panel, lines, number == 0)?;
    }
    area.present()?;
    Ok(())
}

fn draw_panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    (name, figure): &(&str, Figure),
    lines: &[Line<'_>],
    has_legend: bool,
) -> Result<(), Box<dyn Error>> {
    let seconds = lines[0].2.measured.len() as f64;
    // What goes far beyond what the others do is cut off: else these could not be told apart.
    let mut tops: Vec<_> = lines.iter().map(|line| highest(line, *figure)).collect();
    tops.sort_by(f64::total_cmp);
    let top = tops[tops.len() - 1].min(tops[0].max(1.0) * 3.0) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .x_label_area_size(22)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..seconds, 0.0..top)?;
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh().y_labels(4).x_labels(13).y_desc(*name).label_style(("sans-serif", 11)).draw()?;
    for ((name, sender, run), colour) in lines.iter().zip(COLOURS) {
        let points = run.measured.iter().map(|second| (second.at, figure(second, *sender).min(top)));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    if has_legend {
        let mut labels = chart.configure_series_labels();
        labels.position(SeriesLabelPosition::UpperRight).background_style(WHITE.mix(0.8));
        labels.label_font(("sans-serif", 11)).draw()?;
    }
    Ok(())
}

fn highest((_, sender, run): &Line<'_>, figure: Figure) -> f64 {
    run.measured.iter().map(|second| figure(second, *sender)).fold(0.0, f64::max)
}
