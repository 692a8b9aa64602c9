//! An hour as a picture: load, replicas, use of the CPU and lag, one above the other, for each of the rules.

use std::{error::Error, path::Path};

use plotters::{coord::Shift, prelude::*};

use crate::{
    autoscaler::float,
    simulation::{Moment, Run},
};

/// One for each rule.
const COLOURS: [RGBColor; 3] = [RGBColor(200, 120, 30), RGBColor(38, 110, 180), RGBColor(60, 150, 70)];
/// A point for so many seconds.
const STEP: usize = 10;

type Figure = fn(&Moment) -> f64;

/// Draws the runs over the same load.
pub(crate) fn draw(title: &str, runs: &[Run], file: &Path) {
    try_draw(title, runs, file).unwrap_or_else(|error| eprintln!("{}: {error}", file.display()));
}

fn try_draw(title: &str, runs: &[Run], file: &Path) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(file, (760, 600)).into_drawing_area();
    area.fill(&WHITE)?;
    let area = area.titled(title, ("sans-serif", 17))?;
    let panels: [(&str, Figure); 4] = [
        ("messages/s", |moment| moment.published),
        ("replicas", |moment| float(moment.replicas)),
        ("CPU, % of the quota", |moment| 100.0 * moment.second.utilization),
        ("messages that wait", |moment| moment.second.lag),
    ];
    for (index, (panel, (name, figure))) in
        area.split_evenly((panels.len(), 1)).iter().zip(panels).enumerate()
    {
        draw_panel(panel, name, runs, figure, index == 3)?;
    }
    area.present()?;
    Ok(())
}

fn draw_panel(
    panel: &DrawingArea<SVGBackend<'_>, Shift>,
    name: &str,
    runs: &[Run],
    figure: Figure,
    has_legend: bool,
) -> Result<(), Box<dyn Error>> {
    let highest = runs.iter().flat_map(|run| &run.seconds).map(figure).fold(1.0, f64::max) * 1.1;
    let minutes = float(runs.iter().map(|run| run.seconds.len()).max().unwrap_or(1)) / 60.0;
    let mut chart = ChartBuilder::on(panel)
        .margin(6)
        .x_label_area_size(22)
        .y_label_area_size(78)
        .build_cartesian_2d(0.0..minutes, 0.0..highest)?;
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh().y_labels(4).x_labels(13).y_desc(name).label_style(("sans-serif", 11)).draw()?;
    for (run, colour) in runs.iter().zip(COLOURS) {
        let points = run.seconds.iter().enumerate().step_by(STEP);
        let line = points.map(|(second, moment)| (float(second) / 60.0, figure(moment)));
        let series = chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
        series
            .label(run.rule)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    if has_legend {
        let mut labels = chart.configure_series_labels();
        labels.position(SeriesLabelPosition::UpperRight).background_style(WHITE);
        labels.label_font(("sans-serif", 11)).draw()?;
    }
    Ok(())
}
