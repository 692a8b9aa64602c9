//! The variables by which clients are told of proxies.

use std::ffi::OsString;

use super::{ProxyUrl, ProxyUrlError, WebhookUrl, no_proxy::NoProxy};

/// What `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say, in upper or lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyVariables {
    http: Option<NamedProxy>,
    https: Option<NamedProxy>,
    none: NoProxy,
}

/// A proxy, and the variable that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedProxy {
    /// The name of the variable.
    pub variable: &'static str,
    /// Its value; the error where that is no address of a proxy.
    pub proxy: Result<ProxyUrl, ProxyUrlError>,
}

impl ProxyVariables {
    /// Those of this environment. Of two cases upper case counts, as with Go.
    pub(in crate::config) fn of(env: &[(OsString, OsString)]) -> Self {
        let value = |name: &str| {
            let found = env.iter().find(|(known, value)| known == name && !value.is_empty());
            found.map(|(_, value)| value.to_string_lossy().into_owned())
        };
        let named = |names: &[&'static str]| {
            names.iter().find_map(|variable| {
                value(variable).map(|value| NamedProxy { variable, proxy: value.trim().parse() })
            })
        };
        Self {
            http: named(&["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]),
            https: named(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            none: NoProxy::new(&value("NO_PROXY").or_else(|| value("no_proxy")).unwrap_or_default()),
        }
    }

    /// The proxy by which `url` is reached, if by any.
    pub fn proxy(&self, url: &WebhookUrl) -> Option<&NamedProxy> {
        let named = if url.server_name().is_some() { &self.https } else { &self.http };
        named.as_ref().filter(|_| !self.none.covers(url.host(), url.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(env: &[(&str, &str)], url: &str) -> Option<String> {
        let env: Vec<_> = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let variables = ProxyVariables::of(&env);
        let named = variables.proxy(&url.parse().unwrap())?;
        Some(format!("{} {}", named.variable, named.proxy.as_ref().unwrap()))
    }

    #[test]
    fn the_scheme_of_the_webhook_decides() {
        let env = [("HTTP_PROXY", "http://a"), ("https_proxy", "b:1"), ("NO_PROXY", "near.example")];
        assert_eq!(found(&env, "http://x.example/").as_deref(), Some("HTTP_PROXY http://a:80"));
        assert_eq!(found(&env, "https://x.example/").as_deref(), Some("https_proxy http://b:1"));
        assert_eq!(found(&env, "https://near.example/"), None);
        assert_eq!(found(&env, "https://localhost/"), None);
        assert_eq!(found(&[], "https://x.example/"), None);
    }

    #[test]
    fn one_for_all_stands_in_and_an_empty_one_counts_as_not_set() {
        let env = [("ALL_PROXY", "socks5://c"), ("HTTPS_PROXY", ""), ("http_proxy", "a")];
        assert_eq!(found(&env, "https://x.example/").as_deref(), Some("ALL_PROXY socks5h://c:1080"));
        assert_eq!(found(&env, "http://x.example/").as_deref(), Some("http_proxy http://a:80"));
    }
}
