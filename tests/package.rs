//! The Debian package: what is in it, and that each part of it is sound. `make package` builds it, and `make test` names
//! its folder by PACKAGES. (Whether it installs, runs and goes again is a matter for a machine with systemd:
//! packaging/deb/try-out.sh.)
#![expect(clippy::panic, reason = "a test fails by a panic that says what is wrong")]

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use broadcaster::cli::options::Cli;
use clap::CommandFactory as _;
use tempfile::TempDir;
use testkit::process;

/// Every file, with its mode; all belong to root.
const FILES: [&str; 70] = [
    "-rw-r--r-- ./etc/broadcaster/broadcaster.toml",
    "-rw-r--r-- ./usr/lib/systemd/system/broadcaster.service",
    "-rw-r--r-- ./usr/share/bash-completion/completions/broadcaster",
    "-rw-r--r-- ./usr/share/broadcaster/prometheus-rules.yml",
    "-rw-r--r-- ./usr/share/doc/broadcaster/ARCHITECTURE.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/CONTRIBUTING.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/README.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/SECURITY.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/changelog.gz",
    "-rw-r--r-- ./usr/share/doc/broadcaster/config/broadcaster.toml",
    "-rw-r--r-- ./usr/share/doc/broadcaster/config/examples/alertmanager.toml",
    "-rw-r--r-- ./usr/share/doc/broadcaster/config/examples/discord.toml",
    "-rw-r--r-- ./usr/share/doc/broadcaster/config/examples/pagerduty.toml",
    "-rw-r--r-- ./usr/share/doc/broadcaster/config/examples/slack.toml",
    "-rw-r--r-- ./usr/share/doc/broadcaster/config/examples/teams.toml",
    "-rw-r--r-- ./usr/share/doc/broadcaster/config/examples/telegram.toml",
    "-rw-r--r-- ./usr/share/doc/broadcaster/copyright",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/adaptive-refusals.svg",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/adaptive-replicas.svg",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/adaptive-steps.svg",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/adaptive.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/answers.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/api.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/batches.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/bodies.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/check.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/comparison.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/configuration.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/dead-letters.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/dependencies.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/durable.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/egress.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/endpoints.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/filters.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/flamegraph.svg",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/glossary.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/hand-over.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/history.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/http2.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/kubernetes.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/login.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/messages.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/metrics.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/operating.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/performance.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/performance.svg",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/permissions.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/reload.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/requests.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/runbook.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/scaling-day.svg",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/scaling-rush.svg",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/scaling-step.svg",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/scaling.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/service.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/signing.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/status-page-dark.png",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/status-page-light.png",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/status-page-many.png",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/status-page-phone.png",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/status-page.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/tracing.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/vm.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/docs/webhooks.md",
    "-rw-r--r-- ./usr/share/doc/broadcaster/k8s/README.md",
    "-rw-r--r-- ./usr/share/fish/vendor_completions.d/broadcaster.fish",
    "-rw-r--r-- ./usr/share/lintian/overrides/broadcaster",
    "-rw-r--r-- ./usr/share/man/man1/broadcaster.1.gz",
    "-rw-r--r-- ./usr/share/zsh/vendor-completions/_broadcaster",
    "-rwxr-xr-x ./usr/bin/broadcaster",
];

/// The most that `systemd-analyze security` may find exposed, in tenths of a point.
const EXPOSURE: &str = "--threshold=15";

static PACKAGE: LazyLock<Package> = LazyLock::new(Package::unpack);

/// The package, and where it is unpacked.
struct Package {
    file: PathBuf,
    root: TempDir,
}

impl Package {
    fn unpack() -> Self {
        let folder = env::var_os("PACKAGES").expect("PACKAGES names the folder of the package: use `make`");
        let files = fs::read_dir(&folder).expect("the folder can be read");
        let files = files.map(|file| file.expect("it can be listed").path());
        let packages: Vec<_> =
            files.filter(|file| file.extension().is_some_and(|kind| kind == "deb")).collect();
        let [file] = &packages[..] else { panic!("one package is expected in {folder:?}: {packages:?}") };
        let root = tempfile::tempdir().expect("a temporary directory can be made");
        run(Command::new("dpkg-deb").arg("--raw-extract").args([file, root.path()]));
        // What the unit builds upon.
        let of_system = Path::new("/usr/lib/systemd/system");
        for unit in ["sysinit.target", "basic.target", "multi-user.target", "shutdown.target"] {
            let copied =
                fs::copy(of_system.join(unit), root.path().join("usr/lib/systemd/system").join(unit));
            copied.unwrap_or_else(|error| panic!("{unit} of systemd: {error}"));
        }
        Self { file: file.clone(), root }
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.root.path().join(inside)
    }

    fn field(&self, name: &str) -> String {
        run(Command::new("dpkg-deb").arg("--field").args([&self.file, Path::new(name)])).trim_end().to_owned()
    }
}

/// What the command writes. It has to end well and to complain of nothing.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let [text, complaints] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(
        output.status.success() && complaints.is_empty(),
        "{command:?}, {}:\n{complaints}{text}",
        output.status
    );
    text
}

#[test]
#[ignore = "looks at the package, which `make test` builds"]
fn it_has_each_file_with_its_mode_and_nothing_else() {
    let list = run(Command::new("dpkg-deb").arg("--contents").arg(&PACKAGE.file));
    let files: Vec<_> = list
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .inspect(|words| assert!(["0/0", "root/root"].contains(&words[1]), "not root's: {words:?}"))
        .filter(|words| !words[0].starts_with('d'))
        .map(|words| format!("{} {}", words[0], words[5..].join(" ")))
        .collect();
    let added: Vec<_> = files.iter().filter(|file| !FILES.contains(&file.as_str())).collect();
    let missing: Vec<_> = FILES.iter().filter(|file| !files.contains(&(**file).to_owned())).collect();
    assert!(added.is_empty() && missing.is_empty(), "not expected: {added:#?}\nmissing: {missing:#?}");
}

#[test]
#[ignore = "looks at the package, which `make test` builds"]
fn it_says_what_it_is() {
    assert_eq!(PACKAGE.field("Package"), "broadcaster");
    assert_eq!(PACKAGE.field("Version"), concat!(env!("CARGO_PKG_VERSION"), "-1"));
    assert_eq!(PACKAGE.field("Section"), "net");
    assert!(PACKAGE.field("Depends").starts_with("libc6 (>= "), "{}", PACKAGE.field("Depends"));
    let settings = fs::read_to_string(PACKAGE.path("DEBIAN/conffiles")).expect("it has settings to keep");
    assert_eq!(settings, "/etc/broadcaster/broadcaster.toml\n");
    let version = run(Command::new(PACKAGE.path("usr/bin/broadcaster")).arg("--version"));
    assert!(version.starts_with(concat!("broadcaster ", env!("CARGO_PKG_VERSION"), " (")), "{version}");
}

#[test]
#[ignore = "looks at the package, which `make test` builds"]
fn it_starts_where_there_is_an_address_and_leaves_nothing_behind() {
    let machine = Machine::new();
    let said = machine.run("postinst", &["configure", ""]);
    assert!(said.contains("write the address of the webhook into /etc/broadcaster/webhook-url"), "{said}");
    let url = machine.etc().join("webhook-url");
    let mode = fs::metadata(&url).expect("there is a place for the address").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "for root only");
    let calls = machine.calls();
    assert!(calls.contains("deb-systemd-helper enable broadcaster.service\n"), "{calls}");
    assert!(!calls.contains("start broadcaster.service\n"), "nothing to deliver to yet: {calls}");

    fs::write(&url, "https://example.com/hook\n").expect("it is writable");
    assert_eq!(machine.run("postinst", &["configure", ""]), "");
    assert!(machine.calls().contains("deb-systemd-invoke start broadcaster.service\n"));
    assert_eq!(machine.run("postinst", &["configure", "0.0.1-1"]), "");
    assert!(machine.calls().contains("deb-systemd-invoke try-restart broadcaster.service\n"));
    assert_eq!(fs::read_to_string(&url).expect("it is still there"), "https://example.com/hook\n");

    machine.run("prerm", &["remove"]);
    assert!(machine.calls().contains("deb-systemd-invoke stop broadcaster.service\n"));
    machine.run("postrm", &["remove"]);
    assert!(url.exists(), "settings stay");
    machine.run("postrm", &["purge"]);
    assert!(!machine.etc().exists(), "nothing stays");
}

/// A new machine, whose service manager only writes down what it is told.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().expect("a temporary directory can be made"));
        for folder in [machine.etc(), machine.0.path().join("run/systemd/system")] {
            fs::create_dir_all(folder).expect("it is writable");
        }
        for program in ["systemctl", "deb-systemd-helper", "deb-systemd-invoke"] {
            let file = machine.0.path().join(program);
            fs::write(
                &file,
                "#!/bin/sh\necho \"${0##*/} $*\" >>\"${0%/*}/calls\"\n[ \"$1\" != debian-installed ]\n",
            )
            .expect("it is writable");
            fs::set_permissions(file, PermissionsExt::from_mode(0o755)).expect("it is ours");
        }
        machine
    }

    fn etc(&self) -> PathBuf {
        self.0.path().join("etc/broadcaster")
    }

    /// What the script of the package says. It sees only paths of this machine, which need no other rights.
    fn run(&self, script: &str, arguments: &[&str]) -> String {
        let text = fs::read_to_string(PACKAGE.path("DEBIAN").join(script)).expect("there is such a script");
        let root = self.0.path().display();
        let text = ["/etc/broadcaster", "/run/systemd/system"]
            .iter()
            .fold(text, |text, path| text.replace(path, &format!("{root}{path}")));
        let path = format!("{root}:{}", env::var("PATH").expect("there is a PATH"));
        let said = run(Command::new("sh").args(["-c", &text, script]).args(arguments).env("PATH", path));
        said.replace(&root.to_string(), "")
    }

    /// What the service manager was told since it was last asked.
    fn calls(&self) -> String {
        let file = self.0.path().join("calls");
        let calls = fs::read_to_string(&file).unwrap_or_default();
        fs::write(file, "").expect("it is writable");
        calls.replace("--quiet ", "")
    }
}

#[test]
#[ignore = "looks at the package, which `make test` builds"]
fn systemd_accepts_the_unit_and_finds_little_exposed() {
    // The unit also runs a program that is no part of the package: procps has it, which every Debian with systemd has.
    let system = tempfile::tempdir().expect("a temporary directory can be made");
    let program = system.path().join("bin/kill");
    run(Command::new("cp").arg("-a").arg(PACKAGE.root.path().join(".")).arg(system.path()));
    fs::create_dir_all(system.path().join("bin")).expect("it is writable");
    fs::copy("/bin/sh", program).expect("a program can be copied");
    let root = format!("--root={}", system.path().display());
    run(Command::new("systemd-analyze").args(["verify", "--man=no", &root, "broadcaster.service"]));
    let security = ["security", "--offline=true", "--no-pager", EXPOSURE];
    let unit = PACKAGE.path("usr/lib/systemd/system/broadcaster.service");
    run(Command::new("systemd-analyze").args(security).arg(unit));
}

#[test]
#[ignore = "looks at the package, which `make test` builds"]
fn its_configuration_fits_the_secrets_that_the_unit_hands_over() {
    let unit =
        fs::read_to_string(PACKAGE.path("usr/lib/systemd/system/broadcaster.service")).expect("it is text");
    let secrets = unit.lines().filter_map(|line| line.strip_prefix("LoadCredential=")?.split_once(':'));
    let working_directory = tempfile::tempdir().expect("a temporary directory can be made");
    for (name, _) in secrets {
        fs::write(working_directory.path().join(name), "https://example.com/hook\n").expect("it is writable");
    }
    let mut check = Command::new(PACKAGE.path("usr/bin/broadcaster"));
    check.arg("check").arg("--config").arg(PACKAGE.path("etc/broadcaster/broadcaster.toml"));
    let used = run(check.current_dir(&working_directory).env_clear());
    assert!(used.contains("url = \"https://example.com/…\""), "{used}");
}

#[test]
#[ignore = "looks at the package, which `make test` builds"]
fn prometheus_reads_its_rules() {
    let rules = PACKAGE.path("usr/share/broadcaster/prometheus-rules.yml");
    let promtool = process::tool("promtool", "PROMTOOL");
    let said = run(Command::new(promtool).args(["check", "rules", "--lint-fatal"]).arg(rules));
    assert!(said.contains("SUCCESS"), "{said}");
}

/// What the program can do, such as `routes put`.
fn commands() -> Vec<String> {
    fn below(command: &clap::Command, before: &str, all: &mut Vec<String>) {
        for command in command.get_subcommands() {
            let words = format!("{before}{}", command.get_name());
            below(command, &format!("{words} "), all);
            all.push(words);
        }
    }
    let mut all = Vec::new();
    below(&Cli::command(), "", &mut all);
    all
}

#[test]
#[ignore = "looks at the package, which `make test` builds"]
fn the_manual_is_sound_and_complete() {
    let page = PACKAGE.path("usr/share/man/man1/broadcaster.1.gz");
    let mut man = Command::new("man");
    let man =
        man.args(["--warnings", "--local-file"]).arg(page).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "200");
    let text = run(man);
    let help = run(Command::new(PACKAGE.path("usr/bin/broadcaster")).arg("--help"));
    let options = help.split_whitespace().filter(|word| word.starts_with("--"));
    let commands = commands();
    let words = options.chain(commands.iter().map(String::as_str)).chain([
        "CONFIGURATION FILES",
        "ENVIRONMENT",
        "SIGNALS",
        "EXIT STATUS",
        "FILES",
        "SERVICE",
        "EXAMPLES",
    ]);
    for word in words {
        assert!(text.contains(word), "the manual does not mention {word}:\n{text}");
    }
}

#[test]
#[ignore = "looks at the package, which `make test` builds"]
fn shells_complete_commands_and_options() {
    let bash = PACKAGE.path("usr/share/bash-completion/completions/broadcaster");
    let complete = |line: &str| {
        let script = format!(
            "source \"$0\"; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _broadcaster broadcaster \"${{COMP_WORDS[-1]}}\" broadcaster; echo \"${{COMPREPLY[@]}}\""
        );
        run(Command::new("bash").args(["--norc", "-c", &script]).arg(&bash))
    };
    assert_eq!(complete("broadcaster dead-l"), "dead-letters\n");
    assert_eq!(complete("broadcaster --webh"), "--webhook-url\n");
    assert_eq!(complete("broadcaster dead-letters replay --dry"), "--dry-run\n");
    for command in commands() {
        let (before, last) =
            command.rsplit_once(' ').map_or(("", &*command), |(before, last)| (before, last));
        let offered = complete(&format!("broadcaster {before} {}", last.get(..1).unwrap_or_default()));
        assert!(offered.split_whitespace().any(|word| word == last), "{command}: {offered}");
    }
    for (shell, file) in [
        ("zsh", "usr/share/zsh/vendor-completions/_broadcaster"),
        ("fish", "usr/share/fish/vendor_completions.d/broadcaster.fish"),
    ] {
        let file = PACKAGE.path(file);
        let text = fs::read_to_string(&file).expect("it is text");
        assert!(text.contains("dead-letters") && text.contains("webhook-url"), "{text}");
        // Not everybody has these.
        if Command::new(shell).arg("--version").output().is_ok() {
            run(Command::new(shell).arg("-n").arg(file));
        }
    }
}
