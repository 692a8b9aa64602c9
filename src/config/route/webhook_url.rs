//! The address of a webhook, whose path and query don't print.

use std::{fmt, net::IpAddr, str::FromStr};

use http::uri::PathAndQuery;
use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Url};

use super::placeholders::{Placeholders, TargetTemplate};

/// The address that messages are posted to: `http` or `https`, with a host.
///
/// Many services put a secret into the path or the query. So `Debug` and `Display` print no more than
/// `https://host:port/…`.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    /// The name that the webhook's certificate must be for; `None` for plain `http`.
    server_name: Option<ServerName<'static>>,
    host: Host,
    port: u16,
    authority: String,
    /// Where there are placeholders, each has a word that stands for it.
    path_and_query: PathAndQuery,
    template: Option<TargetTemplate>,
}

/// What is wrong with the address of a webhook. It never holds the address, which is a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookUrlError {
    /// Not a URL, or with another scheme.
    #[error("expected a URL such as \"https://example.com/hook\"")]
    NotHttp,
    /// `user:password@` before the host.
    #[error("expected no user or password in the URL: set webhook.auth.basic")]
    Login,
    /// `#…` at the end, which is never sent.
    #[error("expected no # in the URL: what follows it is never sent")]
    Fragment,
    /// What is printed in place of the address.
    #[error("expected the address itself, not what stands for it in what is printed, which ends in /…")]
    Masked,
    /// Port 0.
    #[error("expected a port from 1 to 65535")]
    Port,
    /// A placeholder before the path.
    #[error(
        "expected placeholders in path and query only: scheme, host and port are never a message's to say"
    )]
    Authority,
    /// A placeholder without an end.
    #[error("expected placeholders such as {{{{ tokens[1] }}}}: one has no end")]
    Unclosed,
    /// A placeholder that can't be filled in.
    #[error("expected placeholders such as {{{{ tokens[1] }}}}: {0}")]
    Placeholder(Box<str>),
    /// A path that would be another one with placeholders filled in.
    #[error("expected no //, .. or {{% beside placeholders")]
    OddPath,
}

/// What stands for the path and the query wherever an address is printed.
const MASKED_PATH: &str = "/…";

impl WebhookUrl {
    /// For `https`: the name that the webhook's certificate must be for.
    pub fn server_name(&self) -> Option<&ServerName<'static>> {
        self.server_name.as_ref()
    }

    /// The host: a name to resolve, or an address.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, filled in from the scheme when the URL has none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of the `Host` header: the host, and the port unless it is the scheme's own.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The request target, with the secrets it may carry; starts with `/`. It is that of all requests, unless there is a
    /// template.
    pub fn path_and_query(&self) -> &str {
        self.path_and_query.as_str()
    }

    /// How the request target is made, where it is another one for each message.
    pub fn template(&self) -> Option<&TargetTemplate> {
        self.template.as_ref()
    }
}

impl FromStr for WebhookUrl {
    type Err = WebhookUrlError;

    fn from_str(text: &str) -> Result<Self, WebhookUrlError> {
        let (text, placeholders) = Placeholders::take_out(text)?;
        let text = text.as_str();
        // The parser mends what is not quite a URL, and so could make another host of what is hardly meant: it leaves
        // line breaks and tabs out, takes a backslash for a slash, and needs no slashes at all.
        let odd = text.contains(|c: char| c.is_control() || c == '\\');
        if odd || text.split_once("://").is_none_or(|(_, rest)| rest.starts_with('/')) {
            return Err(WebhookUrlError::NotHttp);
        }
        let url = Url::parse(text).map_err(|_| WebhookUrlError::NotHttp)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(WebhookUrlError::NotHttp);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(WebhookUrlError::Login);
        }
        if url.fragment().is_some() {
            return Err(WebhookUrlError::Fragment);
        }
        if text.ends_with(MASKED_PATH) {
            return Err(WebhookUrlError::Masked);
        }
        if url.port() == Some(0) {
            return Err(WebhookUrlError::Port);
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(WebhookUrlError::NotHttp);
        };
        let target =
            url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let server_name = match url.scheme() {
            "https" => Some(server_name(&host).ok_or(WebhookUrlError::NotHttp)?),
            _ => None,
        };
        Ok(Self {
            server_name,
            host: host.to_owned(),
            port,
            authority: url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}")),
            template: placeholders.put_back(&target)?,
            path_and_query: target.parse().map_err(|_| WebhookUrlError::NotHttp)?,
        })
    }
}

/// `None` for a host that no certificate can be for, such as one with an empty label.
pub(super) fn server_name<S: AsRef<str>>(host: &Host<S>) -> Option<ServerName<'static>> {
    match host {
        Host::Domain(name) => ServerName::try_from(name.as_ref().to_owned()).ok(),
        Host::Ipv4(address) => Some(IpAddr::V4(*address).into()),
        Host::Ipv6(address) => Some(IpAddr::V6(*address).into()),
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.server_name.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}{MASKED_PATH}", self.authority)
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({self})")
    }
}
