//! The failure of an attempt, with its cause in the words of whoever knows.

use std::io::{self, ErrorKind};

use crate::{
    base::network::cause::{self, Trouble},
    deliver::fault::Fault,
    message::outcome::Failure,
};

const CA_SETTING: &str = "webhook.tls.ca_file";

/// What `trouble` at a stage comes to: the failure of that stage, `theirs`, where it is not ours.
pub(super) fn of_trouble(trouble: Trouble, theirs: Failure) -> Fault {
    Fault::new(if trouble.is_ours { Failure::Local } else { theirs }, trouble.words)
}

pub(super) fn of_handshake(host: &str, error: &io::Error) -> Fault {
    Fault::new(Failure::Tls, format_args!("TLS with {host}: {}", cause::of_handshake(error, CA_SETTING)))
}

/// Why a connection that was open can't be read or written. With TLS 1.3 a webhook says only after the handshake that
/// it does not want this client.
pub(in crate::deliver) fn of_stream(error: &io::Error) -> Fault {
    match cause::tls_error(error) {
        Some(error) => Fault::new(Failure::Tls, format_args!("TLS: {}", cause::of_tls(error, CA_SETTING))),
        None if error.kind() == ErrorKind::UnexpectedEof => {
            Fault::new(Failure::Reset, "the connection was closed before an answer")
        }
        None => Fault::new(Failure::Reset, format_args!("the connection broke before an answer: {error}")),
    }
}

/// Whether the kernel says that it has sent something again and again, and the other end has not acknowledged it.
pub(in crate::deliver) fn is_unheard(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable)
}
