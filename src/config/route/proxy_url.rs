//! The address of a proxy, whose login doesn't print.

use std::{fmt, str::FromStr};

use percent_encoding::percent_decode_str;
use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Url};

use super::webhook_url::server_name;
use crate::config::{MASK, Secret};

/// The protocol by which a proxy is asked for a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyScheme {
    /// `http`: HTTP's CONNECT.
    Http,
    /// `https`: the same, encrypted.
    Https,
    /// `socks5`, `socks5h`: SOCKS 5 (RFC 1928). The proxy looks up names.
    Socks5,
}

/// User and password in the address of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyLogin {
    /// Not a secret by itself, but shown nowhere all the same.
    pub user: Secret,
    /// The password, empty where there is none.
    pub password: Secret,
}

/// The address of a proxy. `Debug` and `Display` mask its login.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    scheme: ProxyScheme,
    host: Host,
    port: u16,
    login: Option<ProxyLogin>,
    /// For `https`: the name that the proxy's certificate must be for.
    server_name: Option<ServerName<'static>>,
}

/// What is wrong with the address of a proxy. It never holds the address, which may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyUrlError {
    /// Not a URL, or with another scheme.
    #[error("expected the address of a proxy such as \"http://proxy.example:3128\": http, https or socks5")]
    NotAProxy,
    /// A path or a query.
    #[error("expected the address of a proxy without a path, a ? or a #")]
    Path,
    /// Too long for SOCKS.
    #[error("expected a user and a password of 1 to 255 bytes each, as SOCKS takes them")]
    Login,
    /// What is printed in place of the login.
    #[error("expected the login itself, not the ******** that stands for it in what is printed")]
    Masked,
    /// Port 0.
    #[error("expected a port from 1 to 65535")]
    Port,
}

impl ProxyUrl {
    /// The protocol by which it is asked for a tunnel.
    pub const fn scheme(&self) -> ProxyScheme {
        self.scheme
    }

    /// Where it is: a name to resolve, or an address.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Its port; where the address has none, 80, 443 and 1080 by the scheme.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The login in the address; none where it has none.
    pub const fn login(&self) -> Option<&ProxyLogin> {
        self.login.as_ref()
    }

    /// For `https`: the name that the proxy's certificate must be for.
    pub const fn server_name(&self) -> Option<&ServerName<'static>> {
        self.server_name.as_ref()
    }
}

impl FromStr for ProxyUrl {
    type Err = ProxyUrlError;

    fn from_str(text: &str) -> Result<Self, ProxyUrlError> {
        let odd = text.contains(|c: char| c.is_control() || c == '\\');
        // The variables often have an address without a scheme, which is that of an HTTP proxy to everybody.
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        if odd || whole.split_once("://").is_none_or(|(_, rest)| rest.starts_with('/')) {
            return Err(ProxyUrlError::NotAProxy);
        }
        let url = Url::parse(&whole).map_err(|_| ProxyUrlError::NotAProxy)?;
        let (scheme, usual_port) = match url.scheme() {
            "http" => (ProxyScheme::Http, 80),
            "https" => (ProxyScheme::Https, 443),
            "socks5" | "socks5h" => (ProxyScheme::Socks5, 1080),
            _ => return Err(ProxyUrlError::NotAProxy),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(ProxyUrlError::Path);
        }
        // Once more: the host of a scheme that the parser does not know is any text to it.
        let host = url.host_str().and_then(|host| Host::parse(host).ok()).ok_or(ProxyUrlError::NotAProxy)?;
        let port = url.port().unwrap_or(usual_port);
        if port == 0 {
            return Err(ProxyUrlError::Port);
        }
        let server_name = match scheme {
            ProxyScheme::Https => Some(server_name(&host).ok_or(ProxyUrlError::NotAProxy)?),
            _ => None,
        };
        Ok(Self { scheme, login: login(&url, scheme)?, host, port, server_name })
    }
}

/// What stands before the host, percent-decoded.
fn login(url: &Url, scheme: ProxyScheme) -> Result<Option<ProxyLogin>, ProxyUrlError> {
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().map_err(|_| ProxyUrlError::NotAProxy)?;
        if text == MASK {
            return Err(ProxyUrlError::Masked);
        }
        // A line break would end the header that it is sent in.
        (!text.contains(char::is_control)).then(|| text.into_owned()).ok_or(ProxyUrlError::NotAProxy)
    };
    let (user, password) = (decoded(url.username())?, decoded(url.password().unwrap_or_default())?);
    let fits_socks = [&user, &password].iter().all(|text| (1..=255).contains(&text.len()));
    match (user.is_empty() && password.is_empty(), scheme) {
        (true, _) => Ok(None),
        (false, ProxyScheme::Socks5) if !fits_socks => Err(ProxyUrlError::Login),
        // Basic authentication has a colon between the two (RFC 7617).
        (false, _) if user.contains(':') => Err(ProxyUrlError::NotAProxy),
        (false, _) => Ok(Some(ProxyLogin { user: user.into(), password: password.into() })),
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            ProxyScheme::Http => "http",
            ProxyScheme::Https => "https",
            ProxyScheme::Socks5 => "socks5h",
        };
        let login = if self.login.is_some() { format!("{MASK}:{MASK}@") } else { String::new() };
        write!(f, "{scheme}://{login}{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn addresses_as_people_write_them() {
        for (text, shown) in [
            ("http://proxy.example:3128", "http://proxy.example:3128"),
            ("HTTP://Proxy.Example/", "http://proxy.example:80"),
            ("proxy.example:8080", "http://proxy.example:8080"),
            ("10.0.0.1:8080", "http://10.0.0.1:8080"),
            ("https://proxy.example", "https://proxy.example:443"),
            ("socks5://127.0.0.1", "socks5h://127.0.0.1:1080"),
            ("socks5h://proxy.example:80", "socks5h://proxy.example:80"),
            ("socks5://[::1]:9050", "socks5h://[::1]:9050"),
            ("http://user:s3cret@proxy.example", "http://********:********@proxy.example:80"),
        ] {
            let proxy: ProxyUrl = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(proxy.to_string(), shown);
            assert!(!format!("{proxy:?}").contains("s3cret"), "{proxy:?}");
        }
    }

    #[test]
    fn a_login_is_decoded() {
        let proxy: ProxyUrl = "http://us%40er:p%3Ass@proxy.example".parse().unwrap();
        let login = proxy.login().unwrap();
        assert_eq!((login.user.expose_secret(), login.password.expose_secret()), ("us@er", "p:ss"));
    }

    #[test]
    fn what_is_no_proxy_is_refused() {
        for (text, error) in [
            ("", ProxyUrlError::NotAProxy),
            ("socks4://proxy.example", ProxyUrlError::NotAProxy),
            ("ftp://proxy.example", ProxyUrlError::NotAProxy),
            ("http:///proxy.example", ProxyUrlError::NotAProxy),
            ("http://proxy.example\\.x", ProxyUrlError::NotAProxy),
            ("http://u%0d%0aX:y@proxy.example", ProxyUrlError::NotAProxy),
            ("http://u%3Ax:y@proxy.example", ProxyUrlError::NotAProxy),
            ("http://proxy.example/path", ProxyUrlError::Path),
            ("http://proxy.example/?x", ProxyUrlError::Path),
            ("http://proxy.example:0", ProxyUrlError::Port),
            ("http://********:********@proxy.example", ProxyUrlError::Masked),
            ("socks5://user@proxy.example", ProxyUrlError::Login),
        ] {
            assert_eq!(text.parse::<ProxyUrl>(), Err(error), "{text}");
        }
    }
}
