//! Why the other end of a connection can't be reached, in the words of whoever knows: the system or the TLS library.

use std::{
    fmt::Display,
    io::{self, ErrorKind},
    time::{Duration, SystemTime},
};

use rustix::io::Errno;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError, InvalidMessage};

/// Why a stage failed, and whose trouble it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Whether we are short of something. It tells nothing about the other end then.
    pub is_ours: bool,
    /// What is wrong.
    pub words: String,
}

impl Trouble {
    /// We are short of something.
    pub fn ours(words: impl Display) -> Self {
        Self { is_ours: true, words: words.to_string() }
    }

    /// The other end, or the way there, is in trouble.
    pub fn theirs(words: impl Display) -> Self {
        Self { is_ours: false, words: words.to_string() }
    }
}

/// What we are short of, where that is what `error` says. Addresses are not among it: they may be missing for good.
fn shortage(error: &io::Error) -> Option<&'static str> {
    Some(match Errno::from_io_error(error)? {
        Errno::MFILE => "too many open files in this process",
        Errno::NFILE => "too many open files on this machine",
        Errno::NOBUFS | Errno::NOMEM => "no memory for another socket",
        _ => return None,
    })
}

/// Why the system has no addresses for `host`.
pub fn of_lookup(host: &str, error: &io::Error) -> Trouble {
    if let Some(shortage) = shortage(error) {
        return Trouble::ours(format_args!("looking up {host}: {shortage}"));
    }
    let text = error.to_string();
    let text = text.rsplit_once(": ").map_or(text.as_str(), |(_, last)| last);
    // What glibc and musl call these two, which are by far the most frequent.
    let meaning = match text {
        "Name or service not known" | "Name does not resolve" => "no such name: ",
        "Temporary failure in name resolution" | "Try again" => "no answer from the name servers: ",
        _ => "",
    };
    Trouble::theirs(format_args!("looking up {host}: {meaning}{text}"))
}

/// Why there is no connection to an address, without the address, and whether we are short of something.
pub fn of_connect(error: &io::Error) -> (bool, String) {
    if let Some(shortage) = shortage(error) {
        return (true, shortage.to_owned());
    }
    let words = match error.kind() {
        // What of ours can be short is said by whoever has looked.
        ErrorKind::QuotaExceeded => return (true, error.to_string()),
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::NetworkUnreachable => "network unreachable",
        ErrorKind::HostUnreachable => "host unreachable",
        ErrorKind::TimedOut => "no answer",
        ErrorKind::PermissionDenied => "not permitted on this machine",
        ErrorKind::AddrNotAvailable => "no address of this machine leads there",
        _ => return (false, error.to_string()),
    };
    (false, words.to_owned())
}

/// Why a TLS handshake failed. `ca_setting` names the authorities that are trusted beside, or instead of, the system's.
pub fn of_handshake(error: &io::Error, ca_setting: &str) -> String {
    match tls_error(error) {
        Some(error) => of_tls(error, ca_setting),
        None if error.kind() == ErrorKind::UnexpectedEof => {
            "the connection was closed in the handshake".to_owned()
        }
        None => format!("the connection broke in the handshake: {error}"),
    }
}

/// What the TLS library has against the other end, where that is what `error` says.
pub fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// What the library says, with what it means where that is not plain.
pub fn of_tls(error: &rustls::Error, ca_setting: &str) -> String {
    match error {
        rustls::Error::InvalidCertificate(certificate) => of_certificate(certificate, ca_setting),
        rustls::Error::AlertReceived(alert) => {
            let meaning = match alert {
                AlertDescription::CertificateRequired => "it demands a client certificate: ",
                AlertDescription::HandshakeFailure => {
                    "it accepts none of our ciphers, or wants a certificate: "
                }
                AlertDescription::ProtocolVersion => "it does not speak TLS 1.2 or 1.3: ",
                AlertDescription::UnrecognisedName => "it does not know this name: ",
                _ => "",
            };
            format!("{meaning}{error}")
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            format!("the port does not speak TLS: {error}")
        }
        _ => error.to_string(),
    }
}

/// The library counts the seconds: a cause has to stay the same while it is the same.
fn of_certificate(error: &CertificateError, ca_setting: &str) -> String {
    let day = |seconds: u64| {
        let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        time.map_or_else(|| seconds.to_string(), |time| humantime::format_rfc3339_seconds(time).to_string())
    };
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("certificate expired: not valid after {}", day(not_after.as_secs()))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("certificate not valid yet: not before {}", day(not_before.as_secs()))
        }
        CertificateError::UnknownIssuer => {
            format!("certificate of an unknown authority (UnknownIssuer): name it by {ca_setting}")
        }
        CertificateError::Other(other)
            if other.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity) =>
        {
            format!(
                "certificate that signs itself (CaUsedAsEndEntity): name exactly this one by {ca_setting}"
            )
        }
        CertificateError::BadSignature => {
            "certificate of an unknown authority with the name of a known one (BadSignature)".to_owned()
        }
        _ => format!("invalid peer certificate: {error}"),
    }
}
