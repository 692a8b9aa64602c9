//! Secrets: where they are read from, and that nothing shows them.

use secrecy::ExposeSecret;

use super::{Given, ROUTE, given, no_file};
use crate::config::{NatsAuth, NatsUrl, load};

/// Something that must not be seen anywhere.
const SECRET: &str = "s3cret";

/// Every key that holds a secret, or that a secret is likely to be put into by mistake.
const KEYS: &[&str] = &[
    "nats.url",
    "nats.password",
    "nats.password_file",
    "nats.token",
    "nats.token_file",
    "nats.credentials_file",
    "nats.nkey_seed_file",
    "nats.pasword",
    "nats.tls.key_file",
    "tracing.endpoint",
    "tracing.headers",
    "tracing.headers.authorization",
    "routes.todos.webhook.url",
    "routes.todos.webhook.url_file",
    "routes.todos.webhook.urll",
    "routes.todos.webhook.headers",
    "routes.todos.webhook.headers.authorization",
    "routes.todos.webhook.secrets",
    "routes.todos.webhook.secrets.routing_key",
    "routes.todos.webhook.tls.ca_file",
    "routes.todos.webhook.egress.proxy",
    "routes.todos.webhook.egress.proxy_file",
    "routes.todos.webhook.signing.keys.k.secret",
    "routes.todos.webhook.signing.keys.k.secret_file",
    "routes.todos.webhook.signing.keys.k",
    "routes.todos.webhook",
    "routes.todos.webhook.auth",
    "routes.todos.webhook.auth.basic.password",
    "routes.todos.webhook.auth.basic.password_file",
    "routes.todos.webhook.auth.bearer.token",
    "routes.todos.webhook.auth.bearer.token_file",
    "routes.todos.webhook.auth.aws.secret_access_key",
    "routes.todos.webhook.auth.aws.secret_access_key_file",
    "routes.todos.webhook.auth.aws.session_token_file",
    "routes.todos.webhook.auth.oauth2.token_url",
    "routes.todos.webhook.auth.oauth2.client_secret",
    "routes.todos.webhook.auth.oauth2.client_secret_file",
    "routes.todos.webhook.auth.oauth2.parameters.x",
];

#[test]
fn no_error_shows_a_secret_whatever_is_wrong_with_it() {
    let values = [
        "\"s3cret\"",
        "\"https://user:s3cret@example.com/\"",
        "\"https://example.com/s3cret#x\"",
        "\"ftp://example.com/s3cret\"",
        "\"nats://s3cret@example.com/path\"",
        "\"bad s3cret \\u0007 \\n\"",
        "[\"s3cret\"]",
        "{ s3cre = \"s3cret\" }",
        "{ file = [\"s3cret\"] }",
    ];
    for key in KEYS {
        for value in values {
            let result = load(
                given(&format!("{key} = {value}\nlog.level = 5\nroutes.b.webhook.url = \"x\"\n")).sources,
            );
            let text = result.expect_err("log.level is wrong").to_string();
            assert!(text.contains("log.level: "), "{key} = {value} was not read: {text}");
            assert!(!text.contains(SECRET), "{key} = {value}: {text}");
        }
    }
}

#[test]
fn no_error_shows_a_secret_that_is_a_number() {
    for key in KEYS {
        let text = load(given(&format!("{key} = 314159\nlog.level = 5\n")).sources)
            .expect_err("log.level")
            .to_string();
        assert!(!text.contains("314159"), "{key}: {text}");
    }
}

#[test]
fn no_error_shows_a_secret_from_the_environment() {
    for key in KEYS {
        let variable = format!("BROADCASTER__{}", key.to_uppercase().replace('.', "__"));
        for value in ["s3cret", "https://example.com/s3cret#", "nats://s3cret@"] {
            let given = no_file().var(&variable, value).var("LOG_LEVEL", "loud");
            let text = load(given.sources).expect_err("LOG_LEVEL is wrong").to_string();
            assert!(!text.contains(SECRET), "{key} = {value}: {text}");
        }
    }
}

#[test]
fn no_error_shows_what_is_in_a_secret_file() {
    let files = [
        "s3cret",
        "https://example.com/s3cret#x",
        "-----BEGIN PRIVATE KEY-----\ns3cret!\n",
        "-----BEGIN s3cret",
    ];
    for key in KEYS.iter().filter(|key| key.ends_with("_file")) {
        for contents in files {
            let given = no_file().var("LOG_LEVEL", "loud");
            let path = given.beside("secret", contents);
            let given = given.flag(key, path.to_str().unwrap(), "--set");
            let text = load(given.sources).expect_err("LOG_LEVEL is wrong").to_string();
            assert!(!text.contains(SECRET), "{key} with {contents:?}: {text}");
        }
    }
}

#[test]
fn no_syntax_error_shows_a_secret() {
    let lines = [
        "token = s3cret",
        "token = \"s3cret",
        "token = 's3cret",
        "token = \"\"\"s3cret",
        "token \"s3cret\"",
        "token = \"s3cret\" \"s3cret\"",
        "token = \"s3cret\\q\"",
        "token = \"a\"\ntoken = \"s3cret\"",
        "token = 12s3cret",
        "token = [\"s3cret\"",
        "token = { s = \"s3cret\"",
    ];
    for line in lines {
        let error = given(&format!("[nats]\n{line}\n")).error();
        assert!(error.starts_with("expected TOML, at column "), "{line}: {error}");
        assert!(!error.contains(SECRET) && !error.contains('\n'), "{line}: {error}");
    }
}

#[test]
fn a_good_configuration_does_not_show_its_secrets() {
    let config = given(
        "[nats]\nurl = \"nats://s3cret:s3cret@a:1,tls://s3cret:s3cret@b\"\n[routes.a.webhook]\n\
         url = \"https://example.com:444/s3cret?s3cret\"\nheaders.x-token = \"s3cret\"\nsecrets.key = \"s3cret\"\n\
         egress.proxy = \"http://s3cret:s3cret@proxy\"\n",
    )
    .load();
    let with_password = given(&format!("{ROUTE}[nats]\nuser = \"u\"\npassword = \"s3cret\"\n")).load();
    let with_token = given(&format!("{ROUTE}[nats]\ntoken = \"s3cret\"\n")).load();
    for config in [&config, &with_password, &with_token] {
        for text in [config.to_toml(), format!("{config:?}"), format!("{config:#?}")] {
            assert!(!text.contains(SECRET), "{text}");
        }
    }
    assert!(
        config.to_toml().contains("url = \"nats://********@a:1,tls://********@b\""),
        "{}",
        config.to_toml()
    );
    assert!(config.to_toml().contains("url = \"https://example.com:444/…\""), "{}", config.to_toml());
    assert_eq!(config.nats.servers[0].address(), "nats://a:1");
    let Some(NatsAuth::Password { user, password }) = config.nats.servers[0].login() else {
        panic!("a user with a password expected")
    };
    assert_eq!((user.as_str(), password.secret().expose_secret()), (SECRET, SECRET));
    let with_token: NatsUrl = "tls://s3cret@b".parse().unwrap();
    assert!(
        matches!(with_token.login(), Some(NatsAuth::Token(token)) if token.secret().expose_secret() == SECRET)
    );
    assert!(config.routes[0].webhook.headers["x-token"].is_sensitive());
}

#[test]
fn every_secret_may_stand_in_a_file_and_its_newline_is_trimmed() {
    let given = no_file();
    let url = given.beside("url", "https://example.com/s3cret\r\n");
    let password = given.beside("password", "s3cret\n");
    let config = given
        .var("WEBHOOK_URL_FILE", url.to_str().unwrap())
        .var("BROADCASTER__NATS__PASSWORD_FILE", password.to_str().unwrap())
        .var("BROADCASTER__NATS__USER", "u")
        .load();
    assert_eq!(config.routes[0].webhook.url.path_and_query(), "/s3cret");
    let NatsAuth::Password { user, password } = &config.nats.auth else { panic!("{:?}", config.nats.auth) };
    assert_eq!((user.as_str(), password.secret().expose_secret()), ("u", SECRET));
}

#[test]
fn a_secret_and_its_file_at_once_are_an_error_that_names_both_places() {
    let other = given("");
    let path = other.beside("url", "https://example.com/");
    let error = given(&format!("{ROUTE}url_file = {path:?}\n")).error();
    assert_eq!(
        error,
        "routes.todos.webhook.url_file: expected only one of url_file and url, which is set in DIR/config.toml:2 (in \
         DIR/config.toml:3)"
    );
}

fn token_file(contents: impl AsRef<[u8]>) -> Given {
    let given = given(ROUTE);
    let path = given.beside("token", contents);
    given.var("BROADCASTER__NATS__TOKEN_FILE", path.to_str().unwrap())
}

#[test]
fn a_bad_file_is_named_with_the_reason() {
    let place = "(in environment variable BROADCASTER__NATS__TOKEN_FILE)";
    let empty = token_file("\n").error();
    assert_eq!(empty, format!("nats.token_file: expected a secret in DIR/token, which is empty {place}"));
    let binary = token_file([0xff, 0xfe]).error();
    assert_eq!(
        binary,
        format!(
            "nats.token_file: expected UTF-8 text in DIR/token, which looks like UTF-16: save it as UTF-8 {place}"
        )
    );
    let folder = given(ROUTE).var("BROADCASTER__NATS__TOKEN_FILE", "/").error();
    assert_eq!(folder, format!("nats.token_file: cannot read /: Is a directory (os error 21) {place}"));
    let missing = given(ROUTE).var("BROADCASTER__NATS__TOKEN_FILE", "/no/such/file").error();
    let reason = "No such file or directory (os error 2)";
    assert_eq!(missing, format!("nats.token_file: cannot read /no/such/file: {reason} {place}"));
    let endless = given(ROUTE).var("BROADCASTER__NATS__TOKEN_FILE", "/dev/zero").error();
    assert_eq!(endless, format!("nats.token_file: cannot read /dev/zero: it is larger than 4 MiB {place}"));
}

#[test]
fn a_secret_in_place_of_its_file_is_not_taken_for_a_path_to_show() {
    let error = given(ROUTE).var("BROADCASTER__NATS__TOKEN_FILE", SECRET).error();
    assert_eq!(
        error,
        format!(
            "nats.token_file: cannot read a file in {}: No such file or directory (os error 2); a relative path begins \
             at the working directory (in environment variable BROADCASTER__NATS__TOKEN_FILE)",
            std::env::current_dir().unwrap().display()
        )
    );
}

#[test]
fn an_empty_secret_is_an_error() {
    let error = given("[routes.a.webhook]\nurl = \"\"\n").error();
    assert_eq!(error, "routes.a.webhook.url: expected a string, not an empty string (in DIR/config.toml:2)");
}

#[test]
fn webhook_urls_are_http_with_a_host_and_no_login_or_fragment() {
    let url = |url: &str| no_file().var("WEBHOOK_URL", url).error();
    let place = "(in environment variable WEBHOOK_URL)";
    let expected =
        format!("routes.default.webhook.url: expected a URL such as \"https://example.com/hook\" {place}");
    for bad in [
        "example.com",
        "ftp://example.com/",
        "http://",
        "https://:443/",
        "localhost:8080",
        "http://a b/",
        "https://a..b/",
    ] {
        assert_eq!(url(bad), expected, "{bad}");
    }
    assert_eq!(
        url("https://u:p@example.com/"),
        format!(
            "routes.default.webhook.url: expected no user or password in the URL: set webhook.auth.basic \
             {place}"
        )
    );
    let fragment = "expected no # in the URL: what follows it is never sent";
    assert_eq!(url("https://example.com/#x"), format!("routes.default.webhook.url: {fragment} {place}"));
}

#[test]
fn header_values_are_of_one_line() {
    let error = given(&format!("{ROUTE}headers.x-a = \"s3cret\\nx: y\"\n")).error();
    assert_eq!(error, "routes.todos.webhook.headers.x-a: expected a single line (in DIR/config.toml:3)");
    let error = given(&format!("{ROUTE}headers.\"x-a: s3cret\" = \"\"\n")).error();
    assert!(!error.contains(SECRET), "{error}");
}

#[test]
fn only_one_kind_of_authentication_is_allowed() {
    let auth = |auth: &str| given(&format!("{ROUTE}[nats]\n{auth}\n")).error();
    assert_eq!(
        auth("token = \"a\"\nuser = \"u\"\npassword = \"p\""),
        "nats.token: expected one kind of authentication, but nats.user gives another (in DIR/config.toml:4)"
    );
    assert_eq!(
        auth("token = \"a\"\nurl = \"nats://u:p@x\""),
        "nats.token: expected one kind of authentication, but nats.url gives another (in DIR/config.toml:4)"
    );
    assert_eq!(
        auth("url = \"nats://u:p@x,nats://u:q@y\""),
        "nats.url: expected the same login for all servers (in DIR/config.toml:4)"
    );
    assert!(auth("user = \"u\"").starts_with("nats.password is missing: "));
    assert!(auth("password = \"p\"").starts_with("nats.user is missing: "));
}

#[test]
fn a_secret_that_was_put_into_a_key_of_another_kind_is_not_shown() {
    let error =
        no_file().var("WEBHOOK_URL", "http://x/").var("NATS_SUBJECT", "https://example.com/s3cret.").error();
    assert!(
        error.ends_with("not the string that is there (in environment variable NATS_SUBJECT)"),
        "{error}"
    );
}
