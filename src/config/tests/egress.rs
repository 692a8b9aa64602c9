//! Where requests may go, and by which way.

use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::{Given, ROUTE, given};

#[test]
fn so_is_the_address_of_a_token_server() {
    let at = |token_url: &str, egress: &str| {
        given(&format!(
            "[routes.todos.webhook]\nurl = \"https://8.8.8.8/\"\negress = {{ {egress} }}\n\
             [routes.todos.webhook.auth.oauth2]\nclient_id = \"c\"\ntoken_url = \"{token_url}\"\n"
        ))
    };
    for (url, egress, expected) in [
        ("http://a/", "https_only = true", "expected an address that begins with https"),
        ("https://a:444/", "ports = [443]", "expected one of the ports in egress.ports, not 444"),
        ("https://10.2.0.1/", "deny_private = true", "expected an address of the public internet"),
    ] {
        let error = at(url, egress).error();
        let key = "routes.todos.webhook.auth.oauth2.token_url";
        assert!(error.starts_with(&format!("{key}: {expected}")), "{egress}: {error}");
        assert!(error.ends_with("(in DIR/config.toml:6)"), "{error}");
    }
    let fine = "https_only = true, ports = [443, 8443], deny_private = true, allow = [\"10.1.0.0/16\"]";
    for url in ["https://a/", "https://a:8443/token", "https://10.1.2.3/"] {
        drop(at(url, fine).load());
    }
    let variable = at("http://a/", "").var("http_proxy", "ftp://proxy").error();
    assert!(
        variable.contains("auth.oauth2.token_url: ") && variable.contains(" in http_proxy"),
        "{variable}"
    );
}

#[test]
fn an_address_that_egress_forbids_is_a_mistake() {
    let at = |url: &str, egress: &str| {
        given(&format!("[routes.todos.webhook]\nurl = \"{url}\"\negress = {{ {egress} }}\n"))
    };
    let guarded = "deny_private = true";
    // However it is written: the parser of URLs knows all spellings.
    for url in [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://0x7f.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://１２７.０.０.１/",
        "http://169.254.169.254/latest/meta-data",
        "http://2852039166/",
    ] {
        let error = at(url, guarded).error();
        let expected = "routes.todos.webhook.egress.deny_private: expected a webhook.url of the public internet, or its \
                        network in allow: ";
        assert!(error.starts_with(expected), "{url}: {error}");
    }
    for (url, egress) in [
        ("http://8.8.8.8/", guarded),
        ("http://[2606:4700::1]/", guarded),
        ("http://hook.example/", guarded),
        ("http://127.0.0.1/", "deny_private = false"),
        ("http://10.1.2.3/", "deny_private = true, allow = [\"10.1.0.0/16\"]"),
        ("http://[::ffff:10.1.2.3]/", "deny_private = true, allow = \"10.1.0.0/16, 10.2.0.0/16\""),
        ("https://hook.example/", "https_only = true, ports = [443]"),
        ("https://hook.example:8443/", "ports = [443, 8443]"),
    ] {
        drop(at(url, egress).load());
    }
    for (url, egress, expected) in [
        (
            "http://10.2.0.1/",
            "deny_private = true, allow = [\"10.1.0.0/16\"]",
            "deny_private: expected a webhook.url",
        ),
        ("http://a/", "https_only = true", "https_only: expected a webhook.url that begins with https"),
        ("https://a:444/", "ports = [443]", "ports: expected the port of webhook.url, 444, among them"),
        ("https://a/", "ports = [0]", "ports: expected ports from 1 to 65535"),
        ("https://a/", "allow = [\"10.0.0.0/8\"]", "allow: expected deny_private = true beside it"),
        ("https://a/", "deny_private = true, allow = [\"10.1.0.0/8\"]", "allow: expected networks such as"),
        ("https://a/", "proxy = \"ftp://proxy\"", "proxy: expected the address of a proxy"),
    ] {
        let error = at(url, egress).error();
        assert!(error.starts_with(&format!("routes.todos.webhook.egress.{expected}")), "{egress}: {error}");
    }
}

#[test]
fn a_proxy_is_that_of_the_settings_or_of_the_variables() {
    let proxy = |given: Given| {
        let webhook = &given.load().routes[0].webhook;
        let proxy = webhook.egress.proxy(&webhook.url).map(ToString::to_string);
        (proxy, webhook.egress.proxy_variable(&webhook.url))
    };
    let variables = |file: &str| given(file).var("HTTPS_PROXY", "http://v:1").var("NO_PROXY", "near.example");
    let set = "egress.proxy = \"http://s:2\"";
    assert_eq!(proxy(given(ROUTE)), (None, None));
    assert_eq!(proxy(variables(ROUTE)), (Some("http://v:1".to_owned()), Some("HTTPS_PROXY")));
    assert_eq!(proxy(variables(&ROUTE.replace("example.com", "near.example"))), (None, None));
    assert_eq!(proxy(variables(&format!("{ROUTE}{set}"))), (Some("http://s:2".to_owned()), None));
    assert_eq!(proxy(variables(&format!("{ROUTE}egress.proxy = \"none\""))), (None, None));
    let error = given(ROUTE).var("HTTPS_PROXY", "socks4://s3cret@v").error();
    let expected = "routes.todos.webhook.egress.proxy: expected the address of a proxy such as \
                    \"http://proxy.example:3128\": http, https or socks5 in HTTPS_PROXY, or \"none\" here";
    assert!(error.starts_with(expected) && !error.contains("s3cret"), "{error}");
    // Nobody is reached by it.
    drop(given(ROUTE).var("HTTP_PROXY", "socks4://v").load());
}

#[test]
fn any_certificate_is_good_only_without_those_that_are() {
    let given_with =
        |more: &str| given(&format!("{ROUTE}tls.dangerously_accept_any_certificate = true\n{more}"));
    let warnings = given_with("").warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("the webhook may be anybody"), "{warnings:?}");
    drop(given_with("tls.system_roots = false\n").load());
    let given = given_with("");
    let CertifiedKey { cert, .. } = generate_simple_self_signed(["a".to_owned()]).unwrap();
    let path = given.beside("ca.pem", cert.pem());
    let error = given.flag("routes.todos.webhook.tls.ca_file", path.to_str().unwrap(), "--set").error();
    assert!(error.contains("dangerously_accept_any_certificate: expected no ca_file beside it"), "{error}");
}
