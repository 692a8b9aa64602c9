//! A tunnel by SOCKS 5 (RFC 1928), with a password where there is one (RFC 1929). The proxy looks up names.

use tokio_socks::{Error, TargetAddr, tcp::Socks5Stream};
use url::Host;

use super::{Destination, Refusal, exposed};
use crate::{base::network::stream::Stream, config::ProxyLogin};

pub(super) async fn ask(
    stream: &mut Stream,
    to: Destination<'_>,
    login: Option<&ProxyLogin>,
) -> Result<(), Refusal> {
    let target = match to.host {
        Host::Domain(name) if name.len() > 255 => {
            return Err(Refusal::OfProxy("SOCKS takes no name of more than 255 bytes".to_owned()));
        }
        Host::Domain(name) => TargetAddr::Domain(name.as_str().into(), to.port),
        Host::Ipv4(address) => TargetAddr::Ip((*address, to.port).into()),
        Host::Ipv6(address) => TargetAddr::Ip((*address, to.port).into()),
    };
    let asked = match login.map(exposed) {
        None => Socks5Stream::connect_with_socket(stream, target).await,
        Some((user, password)) => {
            Socks5Stream::connect_with_password_and_socket(stream, target, user, password).await
        }
    };
    asked.map(drop).map_err(refusal)
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::Io(error) => error.into(),
        // The proxy has tried, and tells how it went.
        Error::NetworkUnreachable | Error::HostUnreachable | Error::ConnectionRefused | Error::TtlExpired => {
            Refusal::OfDestination(error.to_string().to_lowercase())
        }
        Error::NoAcceptableAuthMethods | Error::AuthorizationRequired | Error::PasswordAuthFailure(_) => {
            Refusal::OfProxy(format!("it does not let us in ({error}): webhook.egress.proxy has the login"))
        }
        Error::InvalidResponseVersion => Refusal::OfProxy("it does not speak SOCKS 5".to_owned()),
        error => Refusal::OfProxy(format!("no tunnel: {error}")),
    }
}
