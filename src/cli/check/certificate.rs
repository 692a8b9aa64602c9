//! What a certificate says of itself: for how long it is good, and who has signed it. Whether it is good is decided by
//! those who verify it.

use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::{certificate::Certificate as Parsed, der::Decode as _, name::Name, time::Time};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A certificate with fewer days left is worth a warning, unless it never had many: see [`Certificate::ends_soon`].
const SOON: u32 = 14;

/// A certificate, as far as it matters to an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    issuer: String,
    from: SystemTime,
    until: SystemTime,
}

impl Certificate {
    /// Reads a certificate; nothing where it is an odd one.
    pub(super) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Parsed::from_der(der).ok()?.tbs_certificate;
        let time = |time: Time| SystemTime::UNIX_EPOCH + time.to_unix_duration();
        Some(Self {
            issuer: called(&certificate.issuer),
            from: time(certificate.validity.not_before),
            until: time(certificate.validity.not_after),
        })
    }

    /// Who signed it, and until when it is good.
    pub(super) fn describe(&self, now: SystemTime) -> String {
        let left = self.left(now);
        let days = match left.as_secs() / DAY.as_secs() {
            0 => format!("{} hours", left.as_secs() / 3600),
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        };
        format!("certificate of {} until {}, {days} left", self.issuer, self.last_day())
    }

    /// Whether it has less than two weeks left, and less than a fifth of its time: those that live for some days only are
    /// renewed by a machine.
    pub(super) fn ends_soon(&self, now: SystemTime) -> bool {
        let life = self.until.duration_since(self.from).unwrap_or_default();
        self.left(now) < (SOON * DAY).min(life / 5)
    }

    /// Whether it is not good any more.
    pub(super) fn has_ended(&self, now: SystemTime) -> bool {
        self.until <= now
    }

    fn left(&self, now: SystemTime) -> Duration {
        self.until.duration_since(now).unwrap_or_default()
    }

    fn last_day(&self) -> String {
        // humantime panics at times before 1970.
        let until = humantime::format_rfc3339_seconds(self.until.max(SystemTime::UNIX_EPOCH)).to_string();
        until.split('T').next().unwrap_or_default().to_owned()
    }
}

/// The common name, or all of a name that has none.
fn called(name: &Name) -> String {
    let all = name.to_string();
    let common = name.0.iter().flat_map(|part| part.0.iter()).map(ToString::to_string);
    let common = common.filter_map(|part| part.strip_prefix("CN=").map(str::to_owned)).next();
    common.unwrap_or(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + day * DAY
    }

    fn certificate(from: u32, until: u32) -> Certificate {
        Certificate { issuer: "us".to_owned(), from: day(from), until: day(until) }
    }

    #[test]
    fn the_days_that_are_left_are_told() {
        let year = certificate(20_000, 20_365);
        assert_eq!(year.describe(day(20_000)), "certificate of us until 2025-10-04, 365 days left");
        assert_eq!(year.describe(day(20_364)), "certificate of us until 2025-10-04, 1 day left");
        let evening = day(20_364) + Duration::from_secs(20 * 3600);
        assert!(year.describe(evening).ends_with("4 hours left"));
        assert!(year.describe(day(20_400)).ends_with("0 hours left"));
    }

    #[test]
    fn what_ends_soon_is_seen_by_the_life_it_had() {
        let year = certificate(20_000, 20_365);
        assert!(!year.ends_soon(day(20_350)) && year.ends_soon(day(20_352)));
        let week = certificate(20_000, 20_006);
        assert!(!week.ends_soon(day(20_000)) && week.ends_soon(day(20_005)));
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        assert_eq!(Certificate::read(&CertificateDer::from(vec![0x30, 3, 1, 2, 3])), None);
    }
}
