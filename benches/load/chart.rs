//! The figures as a picture: what a message costs in each case.

use std::path::Path;

use plotters::prelude::*;

use crate::report::{Report, Row};

/// Draws CPU time per message, case by case.
pub(crate) fn draw(report: &Report, file: &Path) {
    try_draw(report, file).unwrap_or_else(|error| eprintln!("{}: {error}", file.display()));
}

fn try_draw(report: &Report, file: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let bars: Vec<(&Row, f64)> = report
        .cases
        .iter()
        .filter(|row| row.at_full_speed)
        .filter_map(|row| Some((row, row.median.cpu?)))
        .collect();
    let longest = bars.iter().map(|&(_, cpu)| cpu).fold(0.0, f64::max);
    let height = 90 + 42 * u32::try_from(bars.len())?;
    let area = SVGBackend::new(file, (760, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("CPU time per delivered message, µs (user and system, one process)", ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(28)
        .y_label_area_size(96)
        .build_cartesian_2d(0.0..longest * 1.15, (0..bars.len().saturating_sub(1)).into_segmented())?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(bars.len())
        .y_label_formatter(&|place| match place {
            SegmentValue::CenterOf(index) => {
                // The first case stands on top.
                bars.len()
                    .checked_sub(index + 1)
                    .and_then(|index| bars.get(index))
                    .map_or("", |bar| bar.0.case)
                    .to_owned()
            }
            SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
        })
        .label_style(("sans-serif", 13))
        .draw()?;
    for (index, (row, cpu)) in bars.iter().rev().enumerate() {
        let colour = if row.ratio.is_some() { RGBColor(38, 110, 180) } else { RGBColor(150, 150, 150) };
        let top = if index + 1 < bars.len() { SegmentValue::Exact(index + 1) } else { SegmentValue::Last };
        let ends = [(0.0, SegmentValue::Exact(index)), (*cpu, top)];
        let mut bar = Rectangle::new(ends, colour.filled());
        bar.set_margin(6, 6, 0, 0);
        chart.draw_series([bar])?;
        let label = row.ratio.map_or_else(|| format!("{cpu:.2}"), |ratio| format!("{cpu:.2} ({ratio:.2} ×)"));
        let place = (cpu + longest * 0.01, SegmentValue::CenterOf(index));
        chart.draw_series([Text::new(label, place, ("sans-serif", 13))])?;
    }
    area.present()?;
    Ok(())
}
