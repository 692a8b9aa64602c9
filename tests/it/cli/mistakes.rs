//! What people write by mistake, and what they are told: never a secret, and never less than what is wrong where.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use testkit::{daemon::run, stage::Stage, tls::Authority, webhook::Webhook};

use super::{file, stderr, stdout_of};

const URL: (&str, &str) = ("WEBHOOK_URL", "http://127.0.0.1/");

/// What `check` says of a wrong configuration.
fn mistakes(arguments: &[&str], env: &[(&str, &str)]) -> String {
    let output = run(&[&["check"], arguments].concat(), env);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.len() < 1_000, "too long to read: {} bytes", said.len());
    said
}

#[test]
fn a_mistyped_command_is_shown() {
    for (arguments, shown) in [
        (&["chekc"][..], "'chekc'"),
        (&["dead-leters", "list"], "'dead-leters'"),
        (&["dead-letters", "lst"], "'lst'"),
        (&["deliver"], "'deliver'"),
    ] {
        let output = run(arguments, &[URL]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(shown), "{arguments:?}: {}", stderr(&output));
    }
    for arguments in [&["--set", "nats.token=", "hunter"][..], &["hunter2"], &["Hunter"], &["c2VjcmV0Cg"]] {
        let output = run(arguments, &[URL]);
        let secret = arguments.last().unwrap();
        assert!(!stderr(&output).contains(secret), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn help_shows_the_options_of_a_command_before_those_of_all() {
    for (command, own) in [
        (
            &["dead-letters", "replay"][..],
            &["--id", "--reason", "--since", "--all", "--to-route", "--dry-run"][..],
        ),
        (&["dead-letters", "purge"], &["--id", "--reason", "--since", "--all", "--dry-run"]),
        (&["dead-letters", "list"], &[]),
        (&["health"], &["--live", "--url"]),
    ] {
        let help = stdout_of(&[command, &["--help"]].concat(), &[]);
        let of_group: &[&str] = if command[0] == "dead-letters" { &["--route", "--json"] } else { &[] };
        let common =
            ["--config", "--webhook-url", "--nats-url", "--subject", "--queue-group", "--log-level", "--set"];
        let order = [own, of_group, &common].concat();
        let at = |option: &&str| {
            let line = format!("\n      {option}");
            let found = [" ", "\n"].iter().find_map(|end| help.find(&format!("{line}{end}")));
            found.unwrap_or_else(|| panic!("no {option}: {help}"))
        };
        assert!(order.iter().map(at).is_sorted(), "{help}");
    }
}

#[test]
fn a_key_of_any_depth_ends_in_a_mistake() {
    let deep = vec!["a"; 20_000].join(".");
    let set = format!("{deep}=1");
    assert!(mistakes(&["--set", &set], &[URL]).contains("expected a key of at most 16 parts, not 20000"));
    let name = format!("BROADCASTER__{}", deep.to_uppercase().replace('.', "__"));
    assert!(mistakes(&[], &[URL, (&name, "1")]).contains("expected a key of at most 16 parts"));
    for text in [format!("{deep} = 1\n"), format!("a = {}\n", "[".repeat(20_000))] {
        let (_directory, path) = file(&text);
        assert!(mistakes(&["--config", &path], &[]).contains("recursion limit exceeded"));
    }
    for option in ["--set==1", "--set= =1"] {
        assert_eq!(run(&["check", option], &[URL]).status.code(), Some(2), "{option}");
    }
}

#[test]
fn files_of_every_editor_are_read() {
    let text = "# a file\n[routes.a.webhook]\n\turl = \"http://127.0.0.1/\"\n";
    let (_directory, plain) = file(text);
    let expected = stdout_of(&["check", "--config", &plain], &[]);
    let odd = [
        format!("\u{feff}{text}"),
        text.replace('\n', "\r\n"),
        format!("\u{feff}{}", text.replace('\n', "\r\n")),
    ];
    for odd in odd {
        let (_directory, path) = file(&odd);
        assert_eq!(stdout_of(&["check", "--config", &path], &[]), expected);
    }
    let (_directory, path) = file("\u{feff}[log]\r\nlevel = 5\r\n");
    assert!(mistakes(&["--config", &path], &[URL]).contains("config.toml:2)"));
    let (_directory, path) = file("");
    for (start, bytes) in [
        (&[0xff_u8, 0xfe][..], u16::to_le_bytes as fn(u16) -> [u8; 2]),
        (&[0xfe, 0xff], u16::to_be_bytes),
        (&[], u16::to_le_bytes),
    ] {
        fs::write(&path, [start, &text.encode_utf16().flat_map(bytes).collect::<Vec<_>>()].concat()).unwrap();
        let said = mistakes(&["--config", &path], &[]);
        assert!(said.contains("looks like UTF-16: save it as UTF-8") && said.contains(&path), "{said}");
    }
    assert!(mistakes(&["--config", "/dev/zero"], &[]).contains("larger than 64 MiB"));
    assert!(mistakes(&["--config", "/"], &[]).contains("Is a directory"));
}

#[test]
fn levels_are_written_in_many_ways() {
    for (written, meant) in [
        ("INFO", "info"),
        (" debug ", "debug"),
        ("Warning", "warn"),
        ("WARN", "warn"),
        ("err", "error"),
        ("FATAL", "error"),
        ("trace\n", "trace"),
    ] {
        let printed = stdout_of(&["check"], &[URL, ("LOG_LEVEL", written)]);
        assert!(printed.contains(&format!("level = {meant:?}")), "{written:?}: {printed}");
    }
    for wrong in ["loud", "0", "inf", "broadcaster=debug"] {
        assert!(
            mistakes(&[], &[URL, ("LOG_LEVEL", wrong)]).contains("log.level: expected \"error\" or \"warn\"")
        );
    }
}

#[test]
fn lists_in_variables_are_written_with_commas_or_as_in_the_file() {
    for written in ["429,5xx,!501", " 429 , 5xx, !501", "[\"429\", \"5xx\", \"!501\"]", "[429, 5xx, '!501']"]
    {
        let name = "BROADCASTER__ROUTES__DEFAULT__RETRY__STATUSES";
        let printed = stdout_of(&["check"], &[URL, (name, written)]);
        assert!(printed.contains("statuses = [\"429\", \"5xx\", \"!501\"]"), "{written}: {printed}");
    }
    for written in ["nats://a,nats://b", "nats://a, nats://b", "[\"nats://a\", \"nats://b\"]"] {
        let printed = stdout_of(&["check"], &[URL, ("NATS_URL", written)]);
        assert!(printed.contains("url = \"nats://a,nats://b\""), "{written}: {printed}");
    }
    let (_directory, path) = file("nats.url = [\"nats://a\", \"nats://b\"]\n");
    let printed = stdout_of(&["check", "--config", &path], &[URL]);
    assert!(printed.contains("url = \"nats://a,nats://b\""), "{printed}");
}

/// The address of one host and the rest of another, or a secret and what is not.
#[test]
fn a_file_with_two_lines_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("two");
    fs::write(&path, "https://good.example/SECRET\n.evil.example/\n").unwrap();
    let path = path.to_str().unwrap();
    for name in [
        "WEBHOOK_URL_FILE",
        "BROADCASTER__NATS__TOKEN_FILE",
        "BROADCASTER__ROUTES__DEFAULT__WEBHOOK__HEADERS_FILE__AUTHORIZATION",
    ] {
        let url = if name.contains("URL") { ("LOG_LEVEL", "info") } else { URL };
        let said = mistakes(&[], &[url, (name, path)]);
        assert!(
            said.contains(&format!("expected a single line in {path}")) && !said.contains("SECRET"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_header_out_of_a_file_is_sent() {
    let hook = Webhook::start();
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "Bearer of good news\n").unwrap();
    let name = "BROADCASTER__ROUTES__DEFAULT__WEBHOOK__HEADERS_FILE__AUTHORIZATION";
    let mut stage = Stage::set(&hook.url(), |daemon| daemon.env(name, &token)).await;
    stage.publish("1").await;
    stage.wait_processed(1).await;
    assert_eq!(hook.requests()[0].header("authorization"), "Bearer of good news");
    stage.close().await;
}

/// A service manager tries again for ever after any other status, and no try would help.
#[test]
fn a_login_that_no_server_would_take_is_found_at_the_start_and_before() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (certificate, _) = authority.issue_loopback().write_to(directory.path(), "one");
    let (_, key) = authority.issue_loopback().write_to(directory.path(), "other");
    let [certificate, key] = [certificate, key].map(|path| path.display().to_string());
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let torn = "-----BEGIN NATS USER JWT-----\nh.p.SECRET\n------END NATS USER JWT------\n";
    let (torn, missing) = (write("torn.creds", torn), directory.path().join("none").display().to_string());
    let (seed, two) = (write("seed", "SUASECRET"), write("token", "SECRET\nSECRET\n"));
    for (settings, key) in [
        (vec![("nats.credentials_file", &torn)], "nats.credentials_file"),
        (vec![("nats.credentials_file", &missing)], "nats.credentials_file"),
        (vec![("nats.nkey_seed_file", &seed)], "nats.nkey_seed_file"),
        (vec![("nats.token_file", &two)], "nats.token_file"),
        (vec![("nats.tls.cert_file", &certificate), ("nats.tls.key_file", &key)], "nats.tls.key_file"),
    ] {
        let set: Vec<_> = settings.iter().map(|(key, path)| format!("--set={key}={path}")).collect();
        let set: Vec<_> = set.iter().map(String::as_str).collect();
        for command in [&["check"][..], &[]] {
            let output = run(&[command, &set[..]].concat(), &[URL]);
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(78), "{command:?} {set:?}: {said}");
            assert!(said.contains(key) && !said.contains("SECRET"), "{said}");
        }
    }
}
