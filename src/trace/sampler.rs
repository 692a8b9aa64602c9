//! Which messages get spans: those whose publisher recorded what came before, and of those without a parent a part.

use super::context::{Parent, TraceId};

/// Decides by a trace's id, so that everybody who decides by the same ratio comes to the same
/// (<https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    /// Traces whose randomness is less are not sampled.
    threshold: u64,
}

/// The randomness of an id is below this.
const RANGE: u64 = 1 << 56;

impl Sampler {
    /// Samples this part of the traces that begin here, from 0 to 1.
    pub fn new(ratio: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "2^56 is exact as a float")]
        let rejected = (1.0 - ratio.clamp(0.0, 1.0)) * RANGE as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 2^56")]
        Self { threshold: rejected.round() as u64 }
    }

    /// Whether a message of `trace` gets spans: what its parent says, where it has one.
    pub const fn samples(&self, parent: Option<&Parent>, trace: &TraceId) -> bool {
        match parent {
            Some(parent) => parent.sampled,
            None => trace.randomness() >= self.threshold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(ratio: f64) -> usize {
        let sampler = Sampler::new(ratio);
        (0..10_000).filter(|_| sampler.samples(None, &TraceId::fresh())).count()
    }

    #[test]
    fn a_ratio_is_kept_to_and_its_ends_are_all_and_none() {
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 10_000));
        // Ten standard deviations to either side.
        assert!((2_067..=2_933).contains(&sampled(0.25)), "of 10,000 a quarter");
    }

    #[test]
    fn a_parent_decides() {
        let parent = |flags: &str| {
            let header = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            Parent::parse(header.as_bytes()).unwrap()
        };
        for ratio in [0.0, 0.5, 1.0] {
            let sampler = Sampler::new(ratio);
            let samples = |parent: Parent| sampler.samples(Some(&parent), &parent.trace);
            assert_eq!((samples(parent("01")), samples(parent("00"))), (true, false), "{ratio}");
        }
    }
}
