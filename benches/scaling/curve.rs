//! The loads of the simulation: messages a second over an hour.

/// Messages a second over time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    pub(crate) key: &'static str,
    /// Minutes and messages a second, with straight lines in between.
    points: &'static [(f64, f64)],
}

impl Curve {
    /// All that are looked at.
    pub(crate) const ALL: [Self; 3] = [
        Self {
            name: "a day in an hour",
            key: "day",
            points: &[
                (0.0, 300.0),
                (8.0, 400.0),
                (18.0, 6_000.0),
                (28.0, 9_000.0),
                (32.0, 5_000.0),
                (40.0, 7_000.0),
                (50.0, 1_000.0),
                (60.0, 300.0),
            ],
        },
        Self {
            name: "a rush of 30,000/s",
            key: "rush",
            points: &[
                (0.0, 300.0),
                (10.0, 300.0),
                (15.0, 30_000.0),
                (25.0, 30_000.0),
                (30.0, 300.0),
                (60.0, 300.0),
            ],
        },
        Self {
            name: "30,000/s from one second to the next",
            key: "step",
            points: &[
                (0.0, 300.0),
                (10.0, 300.0),
                (10.0, 30_000.0),
                (20.0, 30_000.0),
                (20.0, 300.0),
                (60.0, 300.0),
            ],
        },
    ];

    /// How long it takes, in seconds.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an hour")]
    pub(crate) fn seconds(&self) -> u32 {
        self.points.last().map_or(0, |(minute, _)| (minute * 60.0) as u32)
    }

    /// Messages a second at this second.
    pub(crate) fn at(&self, second: u32) -> f64 {
        let minute = f64::from(second) / 60.0;
        let after = self.points.iter().position(|(end, _)| minute < *end).unwrap_or(self.points.len() - 1);
        let ((from, low), (to, high)) = (self.points[after.saturating_sub(1)], self.points[after]);
        if to > from { low + (high - low) * (minute - from) / (to - from) } else { high }
    }
}

#[cfg(test)]
mod tests {
    use super::Curve;

    #[test]
    fn a_curve_goes_through_its_points() {
        let [day, _, step] = Curve::ALL;
        assert_eq!([0, 240, 480].map(|second| day.at(second).round()), [300.0, 350.0, 400.0]);
        let around_the_steps = [599, 600, 1199, 1200].map(|second| step.at(second).round());
        assert_eq!(around_the_steps, [300.0, 30_000.0, 30_000.0, 300.0]);
        assert_eq!(day.seconds(), 3600);
    }
}
