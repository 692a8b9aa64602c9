//! The program: options, configuration, log, exit status. Everything else is in the library.

use std::{
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
};

use broadcaster::{
    app::{App, AppError},
    base::{clock::Clock, error_chain::ErrorChain, runtime},
    cli::{
        acts::{self, Act},
        check,
        daemon::DaemonError,
        dead_letters::{self, CommandError, Done},
        health::{self, HealthError, Question},
        history::{self, HistoryError},
        keys::{self, KeysError},
        listen::{self, ListenError},
        options::{
            CheckOptions, Cli, Command, DeadLettersOptions, HealthOptions, HistoryOptions, KeysAction,
            ListenOptions, SendOptions,
        },
        routes,
        send::{self, Fate, SendError},
        status, tail,
    },
    config::{self, Config, ConfigErrors, ConfigWarning, Kept, Origin, Sources},
    control::{log, log_level::LevelControl, signals},
};
use tokio::task::spawn_local;
use tracing::{error, warn};

/// The configuration is wrong (`EX_CONFIG` of sysexits.h).
const BAD_CONFIGURATION: u8 = 78;

/// What was sent would not be sent again.
const REJECTED: u8 = 3;

/// An option is wrong: what the parser of the options uses.
const WRONG_OPTION: u8 = 2;

fn main() -> ExitCode {
    let mut cli = Cli::from_arguments();
    if matches!(cli.command, Some(Command::Send(_) | Command::Routes(_))) {
        cli.settings = cli.settings.without_subject();
    }
    let sources = match cli.settings.sources() {
        Ok(sources) => sources,
        Err(error) => {
            complain(format_args!("error: {error}"));
            return ExitCode::from(WRONG_OPTION);
        }
    };
    match cli.command {
        // Without reading the configuration: it may have become a wrong one since the daemon was started, and a probe
        // that fails for that has a daemon restarted that is well. Nor need a probe be able to read the secrets.
        Some(Command::Health(options)) => probe(&options, sources),
        Some(Command::Check(options)) => configured(sources, |config, warnings| {
            warnings.iter().for_each(warn_of);
            if options.connect { check_connections(&config, &options) } else { print_configuration(&config) }
        }),
        Some(Command::DeadLetters(command)) => configured(sources, |config, warnings| {
            // The others are about the daemon.
            warnings.iter().filter(|warning| warning.is_about_an_option()).for_each(warn_of);
            see_to_dead_letters(config, command)
        }),
        Some(Command::History(options)) => {
            let sources = options.daemon.at_servers(sources);
            // What is wrong with the rest of the configuration says nothing of the message.
            right(config::kept(sources.clone()), |kept| tell_of(&options, &kept, sources))
        }
        // Without reading the configuration, in which the key will be set.
        Some(Command::Keys(options)) => make_keys(options.action),
        // The configuration says how a route signs, and nothing else that matters here.
        Some(Command::Listen(options)) if options.route.is_some() => {
            configured(sources, |config, _warnings| receive(options, Some(&config)))
        }
        Some(Command::Listen(options)) => receive(options, None),
        // Without reading the configuration, as a probe.
        Some(Command::Status(options)) => ask(status::run(&options, sources)),
        Some(Command::Routes(options)) => ask(routes::run(&options, sources)),
        Some(Command::Pause(options)) => ask(acts::run(Act::Pause(options), sources)),
        Some(Command::Drain(options)) => ask(acts::run(Act::Drain(options), sources)),
        Some(Command::Resume(options)) => ask(acts::run(Act::Resume(options), sources)),
        Some(Command::Reload(options)) => ask(acts::run(Act::Reload(options), sources)),
        Some(Command::LogLevel(options)) => ask(acts::run(Act::LogLevel(options), sources)),
        Some(Command::Tail(options)) => ask(tail::run(&options, sources)),
        Some(Command::Send(options)) => {
            let sources = match &options.url {
                Some(url) => send::ad_hoc(url, sources),
                None => sources,
            };
            configured(sources, |config, _warnings| send_one(&options, &config))
        }
        None => {
            let (origin, loaded) = config::load_from(sources);
            right(loaded, |(config, warnings)| deliver(config, &warnings, origin))
        }
    }
}

fn configured(sources: Sources, then: impl FnOnce(Config, Vec<ConfigWarning>) -> ExitCode) -> ExitCode {
    right(config::load_with_warnings(sources), |(config, warnings)| then(config, warnings))
}

/// Goes on with a configuration, or that part of it, which is right.
fn right<T>(loaded: Result<T, ConfigErrors>, then: impl FnOnce(T) -> ExitCode) -> ExitCode {
    match loaded {
        Ok(loaded) => then(loaded),
        Err(errors) => {
            // In plain text: only the configuration says how the log looks. Most often a person reads this.
            complain(errors);
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}

fn print_configuration(config: &Config) -> ExitCode {
    let mut page = String::new();
    // As comments: what is printed is a configuration.
    for route in &config.routes {
        let notices = route.notices().into_iter();
        page.extend(notices.map(|notice| format!("# routes.{}: {notice}\n", route.name)));
    }
    page.push_str(&config.to_toml());
    match io::stdout().write_all(page.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough: the configuration is right all the same.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn check_connections(config: &Config, options: &CheckOptions) -> ExitCode {
    let run = || {
        let clock = Clock::start();
        let runtime = runtime::local()?;
        let report = runtime.block_on(check::connect(config, clock));
        runtime.shutdown_background();
        match check::print(&report, options.json) {
            // Whoever read the output has seen enough: the status says the rest.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(report.is_good()),
            printed => printed.map(|()| report.is_good()),
        }
    };
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn probe(options: &HealthOptions, sources: Sources) -> ExitCode {
    let question = if options.live { Question::Live } else { Question::Ready };
    let ask = || {
        let api = match &options.url {
            Some(url) => vec![health::named(url)?],
            None => health::local(config::api_address(sources)),
        };
        let runtime = runtime::local()?;
        let answer = runtime.block_on(health::ask(&api, question));
        // A name that is still being looked up holds up nobody: the time of a probe is over when it has said so.
        runtime.shutdown_background();
        answer
    };
    match ask() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(if matches!(error, HealthError::Url) { WRONG_OPTION } else { 1 })
        }
    }
}

fn see_to_dead_letters(config: Config, command: DeadLettersOptions) -> ExitCode {
    match to_its_end(dead_letters::run(config, command, Clock::start())) {
        Ok(Done::Fully) => ExitCode::SUCCESS,
        Ok(Done::InPart) => ExitCode::FAILURE,
        // Whoever read the output has seen enough, such as `head`: that is no failure.
        Err(CommandError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn tell_of(options: &HistoryOptions, kept: &Kept, sources: Sources) -> ExitCode {
    match to_its_end(history::run(options, kept, sources)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever read the output has seen enough.
        Err(HistoryError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("error: {error}"));
            let status = if let HistoryError::Daemon(error) = &error { error.exit_status() } else { 1 };
            ExitCode::from(status)
        }
    }
}

/// What a running daemon says; false where that is not good.
fn ask(question: impl Future<Output = Result<bool, DaemonError>>) -> ExitCode {
    match to_its_end(question) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            if error.exit_status() > 0 {
                complain(format_args!("error: {error}"));
            }
            ExitCode::from(error.exit_status())
        }
    }
}

fn make_keys(action: KeysAction) -> ExitCode {
    match keys::run(action, io::stdin().lock(), io::stdout().lock(), io::stderr().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough.
        Err(KeysError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn receive(options: ListenOptions, config: Option<&Config>) -> ExitCode {
    match to_its_end(listen::run(options, config)) {
        Ok(tally) if tally.unverified > 0 => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough.
        Err(ListenError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn deliver(config: Config, warnings: &[ConfigWarning], origin: Origin) -> ExitCode {
    // Held to the end, since dropping it writes the rest of the log.
    let (_log, level) = log::start(&config.log);
    warnings.iter().for_each(|warning| warn!("{warning}"));
    match run(config, origin, level) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{}", ErrorChain(&error));
            ExitCode::FAILURE
        }
    }
}

fn send_one(options: &SendOptions, config: &Config) -> ExitCode {
    match to_its_end(send::run(options, config, Clock::start())) {
        Ok(Fate::Done) => ExitCode::SUCCESS,
        Ok(Fate::Retried) => ExitCode::FAILURE,
        Ok(Fate::Dead) => ExitCode::from(REJECTED),
        Err(error) => {
            complain(format_args!("error: {error}"));
            ExitCode::from(if matches!(error, SendError::Subject(_)) { WRONG_OPTION } else { 1 })
        }
    }
}

/// Runs a command to its end, on a runtime of its own.
fn to_its_end<T, E: From<io::Error>>(command: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let runtime = runtime::local()?;
    let done = runtime.block_on(command);
    // A name that is still being looked up holds up nobody.
    runtime.shutdown_background();
    done
}

/// Tells it whoever started the program. Where nobody listens any more, the exit status says enough: `eprintln!` would
/// panic there.
fn complain(what: impl Display) {
    drop(writeln!(io::stderr(), "{what}"));
}

/// As [`complain`]: not among what a command prints, which may be a configuration.
fn warn_of(warning: &ConfigWarning) {
    complain(format_args!("warning: {warning}"));
}

fn run(config: Config, origin: Origin, level: LevelControl) -> Result<(), AppError> {
    let clock = Clock::start();
    // Health, metrics and dead letters: a runtime like a lane's, but on this thread.
    let runtime = runtime::local().map_err(AppError::Runtime)?;
    let done = runtime.block_on(async {
        let signals = signals::listen().map_err(AppError::Runtime)?;
        let app = App::bind(config, origin, clock)?.logging(level);
        app.announce();
        drop(spawn_local(app.reloader().follow(signals.reload)));
        tokio::select! {
            done = app.run(signals.stop.cancelled()) => done.map(drop),
            () = signals.abort.cancelled() => Err(AppError::Aborted),
        }
    });
    // After a second signal the lanes are still at work, and nobody waits for them.
    runtime.shutdown_background();
    done
}
