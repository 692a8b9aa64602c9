//! Writes what a package has beside the binary, out of the command line as it is: the manual and the completions of shells.
//! An example, so that the daemon has nothing of it. usage: cargo run --example assets -- DIRECTORY

use std::{env, error::Error, fs, io, path::Path};

use broadcaster::{VERSION, cli::options::Cli};
use clap::{Arg, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Inline, Roff, bold, italic, roman},
};

const DESCRIPTION: &str = "\
broadcaster subscribes to subjects of NATS, or consumes streams of JetStream, and delivers each message, as an HTTP POST, \
to the webhook of its route. What fails is tried again, a webhook that is down is left alone for a while, and what will \
not be delivered becomes a dead letter. It keeps running when NATS or the webhook does not, and gives an account of all \
messages at the end.

Without a command it delivers until it is told to stop.";

/// What there is to say beyond options and commands: files, variables, signals, examples.
const SECTIONS: &str = include_str!("broadcaster.man");

fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args_os().nth(1).ok_or("usage: assets DIRECTORY")?;
    let directory = Path::new(&directory);
    fs::create_dir_all(directory)?;
    // Not the commit: these depend on the command line only.
    let command = Cli::command().version(VERSION);
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command.clone(), "broadcaster", directory)?;
    }
    fs::write(directory.join("broadcaster.1"), manual(command)?)?;
    Ok(())
}

/// broadcaster(1): one page for all commands, so that there is one place to look.
fn manual(command: Command) -> io::Result<Vec<u8>> {
    let mut command = command.disable_help_subcommand(true).long_about(DESCRIPTION);
    command.build();
    let commands = commands(&command);
    let mut usage = vec!["broadcaster [OPTIONS]".to_owned()];
    usage.extend(commands.iter().map(|command| usage_of(command)));

    // The title is clap_mangen's own business, but it leaves out a date that is empty, and what follows takes its place.
    let mut text =
        format!(".TH BROADCASTER 1 \"\" \"broadcaster {VERSION}\" \"User Commands\"\n").into_bytes();
    let page = Man::new(command.clone().override_usage(usage.join("\n")));
    page.render_name_section(&mut text)?;
    // Commands with spaces between their words look like other commands.
    text.extend_from_slice(b".ad l\n");
    page.render_synopsis_section(&mut text)?;
    text.extend_from_slice(b".ad b\n");
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    let mut section = Roff::new();
    section.control("SH", ["COMMANDS"]);
    section.text([roman("The options above go with every command. These have options of their own, too:")]);
    commands.iter().for_each(|command| describe(&mut section, command));
    section.to_writer(&mut text)?;
    text.extend_from_slice(SECTIONS.as_bytes());
    Ok(text)
}

/// The commands that do something: of those with commands of their own, these.
fn commands(command: &Command) -> Vec<&Command> {
    let of = |inner| if Command::has_subcommands(inner) { commands(inner) } else { vec![inner] };
    command.get_subcommands().filter(|inner| inner.get_name() != "help").flat_map(of).collect()
}

fn usage_of(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    usage.trim_start_matches("Usage: ").to_owned()
}

fn describe(section: &mut Roff, command: &Command) {
    section.control("SS", [command.get_bin_name().unwrap_or_else(|| command.get_name())]);
    section.text([roman(format!("{}.", command.get_about().cloned().unwrap_or_default()))]);
    let everywhere = Cli::command();
    // An option of a command may have the name of one that goes with every command, and mean something else.
    let is_same = |arg: &Arg, other: &Arg| {
        other.get_id() == arg.get_id()
            && other.get_help().map(ToString::to_string) == arg.get_help().map(ToString::to_string)
    };
    let is_its_own =
        |arg: &&Arg| arg.get_id() != "help" && !everywhere.get_arguments().any(|other| is_same(arg, other));
    for arg in command.get_arguments().filter(is_its_own) {
        section.control("TP", []);
        section.text(term(arg));
        let values = arg.get_possible_values();
        let values: Vec<_> = values.iter().map(|value| value.get_name()).collect();
        let mut help = format!("{}.", arg.get_help().cloned().unwrap_or_default());
        if arg.get_action().takes_values() && !values.is_empty() {
            help.push_str(&format!(" One of {}.", values.join(", ")));
        }
        section.text([roman(help)]);
    }
}

/// `--option VALUE`
fn term(arg: &Arg) -> Vec<Inline> {
    let value =
        arg.get_value_names().map(|names| names.join(" ")).filter(|_| arg.get_action().takes_values());
    let value = value.map(italic);
    match (arg.get_long(), value) {
        (Some(option), Some(value)) => vec![bold(format!("--{option}")), roman(" "), value],
        (Some(option), None) => vec![bold(format!("--{option}"))],
        (None, value) => value.into_iter().collect(),
    }
}
