//! A secret in place of its file, a file in place of a secret, and what is neither.

use secrecy::ExposeSecret;

use super::{Given, ROUTE, given, no_file};
use crate::config::NatsAuth;

const SECRET: &str = "s3cret";

/// Every key that names a file with one secret, and the settings that it cannot be without.
const ONE_SECRET: &[(&str, &[(&str, &str)])] = &[
    ("server.tokens.t.token_file", &[]),
    ("nats.token_file", &[]),
    ("nats.password_file", &[("nats.user", "u")]),
    ("routes.todos.webhook.url_file", &[]),
    ("routes.todos.webhook.egress.proxy_file", &[]),
    ("routes.todos.webhook.headers_file.x-token", &[]),
    ("routes.todos.webhook.signing.keys.k.secret_file", &[("routes.todos.webhook.signing.scheme", "github")]),
    ("routes.todos.webhook.secrets_file.key", &[]),
];

fn with_file(key: &str, needed: &[(&str, &str)], contents: impl AsRef<[u8]>) -> Given {
    let url = if key.ends_with("url_file") { "" } else { ROUTE };
    let given = given(url);
    let path = given.beside("secret", contents);
    let needed = needed.iter().fold(given, |given, (key, value)| given.flag(key, value, "--set"));
    needed.flag(key, path.to_str().unwrap(), "--set")
}

#[test]
fn a_file_with_one_secret_has_one_line() {
    for (key, needed) in ONE_SECRET {
        let secret = match key.rsplit('.').next() {
            Some("url_file") => "https://good.example/s3cret",
            Some("proxy_file") => "http://u:s3cret@good.example",
            _ if key.starts_with("server.tokens.") => "s3cret-of-sixteen",
            _ => "s3cret",
        };
        for end in ["", "\n", "\r\n", "\n\n"] {
            with_file(key, needed, format!("{secret}{end}")).load();
            with_file(key, needed, format!("\u{feff}{secret}{end}")).load();
        }
        for second in ["\n.evil.example/", "\r\nx: y", "\rx", "\n\nx\n", "\nhttps://other.example/"] {
            let error = with_file(key, needed, format!("{secret}{second}")).error();
            assert_eq!(
                error,
                format!("{key}: expected a single line in DIR/secret (in flag --set)"),
                "{second:?}"
            );
        }
        for odd in ["\u{7}", "\u{1b}[2J", "\t", "\u{85}"] {
            let error = with_file(key, needed, format!("{secret}{odd}x")).error();
            assert_eq!(error, format!("{key}: expected no control characters in DIR/secret (in flag --set)"));
        }
        let wide: Vec<u8> = format!("\u{feff}{secret}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let error = with_file(key, needed, wide).error();
        assert!(error.contains("in DIR/secret, which looks like UTF-16"), "{error}");
        let error = with_file(key, needed, format!("{secret}\0")).error();
        assert!(error.contains("in DIR/secret, which looks like UTF-16"), "{error}");
    }
}

#[test]
fn no_address_is_mended_into_another_one() {
    let odd = [
        "https://good.example\\@evil.example/",
        "https:\\\\evil.example/",
        "https:evil.example/",
        "https:/evil.example/",
        "https:///evil.example/",
        "https://good.example/a\n.evil.example/",
        "https://good\t.example/",
    ];
    for odd in odd {
        let error = no_file().var("WEBHOOK_URL", odd).error();
        assert!(error.starts_with("routes.default.webhook.url: expected "), "{odd:?}: {error}");
    }
    for odd in ["nats://good\n.evil.example", "nats://a\tb", "nats://a:0", "nats://a,nats://b:0"] {
        let error = given(ROUTE).var("NATS_URL", odd).error();
        assert!(error.starts_with("nats.url: expected "), "{odd:?}: {error}");
    }
    let error = no_file().var("WEBHOOK_URL", "https://example.com:0/").error();
    assert!(error.starts_with("routes.default.webhook.url: expected a port from 1 to 65535"), "{error}");
}

#[test]
fn what_stands_for_a_secret_is_no_secret() {
    let masked = given(
        "[nats]\nurl = \"nats://u:s3cret@a\"\n[routes.a.webhook]\nurl = \"https://example.com:444/s3cret\"\n\
         headers.x-token = \"s3cret\"\n",
    )
    .load()
    .to_toml();
    let errors = given(&masked).errors();
    for key in ["nats.url: ", "routes.a.webhook.url: ", "routes.a.webhook.headers.x-token: "] {
        assert!(
            errors.iter().any(|error| error.starts_with(key) && error.contains("stands for it")),
            "{errors:#?}"
        );
    }
    assert_eq!(errors.len(), 3, "{errors:#?}");
    for (key, needed) in [("nats.token", None), ("nats.password", Some(("nats.user", "u")))] {
        let given = given(ROUTE).flag(key, "********", "--set");
        let given = needed.into_iter().fold(given, |given, (key, value)| given.flag(key, value, "--set"));
        let error = given.error();
        assert!(error.starts_with(&format!("{key}: expected the secret itself")), "{error}");
    }
    for (key, needed) in ONE_SECRET {
        let mask = match key.rsplit('.').next() {
            Some("url_file") => "https://example.com/…\n",
            Some("proxy_file") => "http://********:********@proxy.example\n",
            _ => "********\n",
        };
        let error = with_file(key, needed, mask).error();
        assert!(error.starts_with(&format!("{key}: expected the ")), "{error}");
    }
}

#[test]
fn the_newline_at_the_end_of_a_variable_is_no_part_of_it() {
    let config = no_file()
        .var("WEBHOOK_URL", "https://example.com/s3cret\n")
        .var("NATS_URL", "nats://a\r\n")
        .var("LOG_LEVEL", "debug\n")
        .var("BROADCASTER__NATS__TOKEN", "s3cret\n")
        .var("BROADCASTER__NATS__NAME", "\n")
        .var("BROADCASTER__ROUTES__DEFAULT__WEBHOOK__HEADERS__X-TOKEN", "s3cret\r\n")
        .load();
    assert_eq!(config.routes[0].webhook.url.path_and_query(), "/s3cret");
    assert_eq!(config.routes[0].webhook.headers["x-token"], SECRET);
    assert_eq!(config.nats.name, "broadcaster");
    let NatsAuth::Token(token) = &config.nats.auth else { panic!("{:?}", config.nats.auth) };
    assert_eq!(token.secret().expose_secret(), SECRET);
    let error = given(ROUTE).var("BROADCASTER__NATS__TOKEN", "s3cret\nother").error();
    assert!(error.starts_with("nats.token: expected a single line"), "{error}");
}

#[test]
fn a_later_layer_wins_over_the_file_of_an_earlier_one_and_its_file_over_that() {
    let folder = given("");
    let url = folder.beside("url", "https://example.com/file");
    let path = url.to_str().unwrap();
    let target = |given: Given| given.load().routes[0].webhook.url.path_and_query().to_owned();
    let file = |line: &str| given(&format!("[routes.default.webhook]\n{line}\n"));
    let direct = "url = \"https://example.com/direct\"";
    let named = format!("url_file = {path:?}");
    let variable = "https://example.com/variable";
    // What is replaced is not even read.
    assert_eq!(target(file("url_file = \"/no/such/file\"").var("WEBHOOK_URL", variable)), "/variable");
    assert_eq!(target(file(direct).var("WEBHOOK_URL_FILE", path)), "/file");
    assert_eq!(
        target(file(&named).flag("routes.default.webhook.url", variable, "--webhook-url")),
        "/variable"
    );
    let flag =
        file(direct).var("WEBHOOK_URL", variable).flag("routes.default.webhook.url_file", path, "--set");
    assert_eq!(target(flag), "/file");
    let error = file("").var("WEBHOOK_URL", variable).var("WEBHOOK_URL_FILE", path).error();
    assert!(
        error.contains("expected only one of url_file and url, which is set in environment variable"),
        "{error}"
    );

    let header = |given: Given| given.load().routes[0].webhook.headers["x-token"].clone();
    let token = folder.beside("token", "of a file\n");
    let token = token.to_str().unwrap();
    let by_variable = |name: &str| format!("BROADCASTER__ROUTES__TODOS__WEBHOOK__{name}__X-TOKEN");
    let in_file = |line: &str| given(&format!("{ROUTE}{line}\n"));
    let later = in_file("headers_file.x-token = \"/no/such/file\"").var(&by_variable("HEADERS"), "direct");
    assert_eq!(header(later), "direct");
    let later = in_file("headers.X-Token = \"direct\"").var(&by_variable("HEADERS_FILE"), token);
    assert_eq!(header(later), "of a file");
    let both = format!("headers.X-Token = \"direct\"\nheaders_file.x-token = {token:?}");
    let error = in_file(&both).error();
    assert!(
        error.starts_with(
            "routes.todos.webhook.headers_file.x-token: expected only one of headers_file and headers"
        ),
        "{error}"
    );
}

#[test]
fn a_file_for_a_header_has_a_table_of_its_own() {
    for name in ["authorization_file", "Authorization_File"] {
        let error = given(&format!("{ROUTE}headers.{name} = \"/run/secrets/token\"\n")).error();
        assert_eq!(
            error,
            format!(
                "routes.todos.webhook.headers.{name}: expected a header: for a value that stands in a file, set \
                 webhook.headers_file.authorization (in DIR/config.toml:3)"
            )
        );
    }
    let given = given(ROUTE);
    let path = given.beside("token", "Bearer s3cret\n");
    let config = given
        .var("BROADCASTER__ROUTES__TODOS__WEBHOOK__HEADERS_FILE__AUTHORIZATION", path.to_str().unwrap())
        .load();
    let value = &config.routes[0].webhook.headers["authorization"];
    assert!(value == "Bearer s3cret" && value.is_sensitive(), "{value:?}");
    assert!(config.to_toml().contains("\"authorization\" = \"********\""), "{}", config.to_toml());
}

#[test]
fn a_file_that_is_not_there_is_named_as_it_was_looked_for() {
    let here = std::env::current_dir().unwrap().display().to_string();
    for name in ["no-such-file", "secrets/url", "webhook.url", "./UPPER", "../url2"] {
        let error = no_file().var("WEBHOOK_URL_FILE", name).error();
        let expected = format!(
            "cannot read {here}/{name}: No such file or directory (os error 2); a relative path begins"
        );
        assert!(error.contains(&expected), "{error}");
    }
    for secret in
        ["s3cret", "Hunter", "hunter!", "eyJhbGciOi.J9", "a b", "https://example.com/", "c2VjcmV0Cg=="]
    {
        let error = no_file().var("WEBHOOK_URL_FILE", secret).error();
        assert!(
            error.contains(&format!("cannot read a file in {here}: ")) && !error.contains(secret),
            "{error}"
        );
    }
}
