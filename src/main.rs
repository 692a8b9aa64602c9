//! The program: options, configuration, log, exit status. Everything else is in the library.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use broadcaster::{
    app::{App, AppError},
    base::{clock::Clock, error_chain::ErrorChain, runtime},
    cli::{
        dead_letters::{self, CommandError, Done},
        health::{self, HealthError, Question},
        options::{Cli, Command, DeadLettersOptions, HealthOptions},
    },
    config::{self, Config, ConfigWarning},
    control::{log, signals},
};
use tracing::{error, warn};

/// The configuration is wrong (`EX_CONFIG` of sysexits.h).
const BAD_CONFIGURATION: u8 = 78;

/// An option is wrong: what the parser of the options uses.
const WRONG_OPTION: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::from_arguments();
    let sources = match cli.settings.sources() {
        Ok(sources) => sources,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(WRONG_OPTION);
        }
    };
    // Before the configuration is read: whoever names the daemon may lack it, or the permission to read its secrets.
    if let Some(Command::Health(HealthOptions { live, url: Some(url) })) = &cli.command {
        return probe(health::named(url), *live);
    }
    let (config, warnings) = match config::load_with_warnings(sources) {
        Ok(loaded) => loaded,
        Err(errors) => {
            // In plain text: only the configuration says how the log looks. Most often a person reads this.
            eprintln!("{errors}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    match cli.command {
        Some(Command::Check) => {
            // Not among what is printed, which is a configuration.
            warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            check(&config)
        }
        Some(Command::Health(HealthOptions { live, .. })) => {
            probe(Ok(health::local(config.server.api)), live)
        }
        Some(Command::DeadLetters(command)) => {
            // The others are about the daemon.
            let own = warnings.iter().filter(|warning| warning.is_about_an_option());
            own.for_each(|warning| eprintln!("warning: {warning}"));
            see_to_dead_letters(&config, command)
        }
        None => deliver(config, &warnings),
    }
}

fn check(config: &Config) -> ExitCode {
    match io::stdout().write_all(config.to_toml().as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_closed) => ExitCode::FAILURE,
    }
}

fn probe(authority: Result<String, HealthError>, live: bool) -> ExitCode {
    let question = if live { Question::Live } else { Question::Ready };
    let ask = |authority: String| {
        let runtime = runtime::local()?;
        let answer = runtime.block_on(health::ask(&authority, question));
        // A name may still be looked up: nobody waits for that.
        runtime.shutdown_background();
        answer
    };
    match authority.and_then(ask) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(if matches!(error, HealthError::Url) { WRONG_OPTION } else { 1 })
        }
    }
}

fn see_to_dead_letters(config: &Config, command: DeadLettersOptions) -> ExitCode {
    let run = || {
        let clock = Clock::start();
        let runtime = runtime::local()?;
        let done = runtime.block_on(dead_letters::run(config, command, clock));
        runtime.shutdown_background();
        done
    };
    match run() {
        Ok(Done::Fully) => ExitCode::SUCCESS,
        Ok(Done::InPart) => ExitCode::FAILURE,
        // Whoever read the output has seen enough, such as `head`: that is no failure.
        Err(CommandError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn deliver(config: Config, warnings: &[ConfigWarning]) -> ExitCode {
    // Held to the end, since dropping it writes the rest of the log.
    let _log = log::start(&config.log);
    warnings.iter().for_each(|warning| warn!("{warning}"));
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{}", ErrorChain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> Result<(), AppError> {
    let clock = Clock::start();
    // Health, metrics and dead letters: a runtime like a lane's, but on this thread.
    let runtime = runtime::local().map_err(AppError::Runtime)?;
    let done = runtime.block_on(async {
        let signals = signals::listen().map_err(AppError::Runtime)?;
        let app = App::bind(config, clock).await?;
        tokio::select! {
            done = app.run(signals.stop.cancelled()) => done.map(drop),
            () = signals.abort.cancelled() => Err(AppError::Aborted),
        }
    });
    // After a second signal the lanes are still at work, and nobody waits for them.
    runtime.shutdown_background();
    done
}
