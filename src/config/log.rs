//! `[log]`: what is logged, and how it looks.

use super::{
    parse::{self, Choice},
    reader::{Reported, Section},
};

/// `[log]`: what is logged, and how it looks. Logs go to standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `log.level`: the least severe level that is logged. Default `info`.
    pub level: LogLevel,
    /// `log.format`: `text` for people, `json` (one object a line) for machines. Default `text`.
    pub format: LogFormat,
}

/// How severe a line must be to be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what needs an operator now.
    Error,
    /// Also what is wrong but is being dealt with.
    Warn,
    /// Also changes of state: connected, failing, recovered.
    Info,
    /// Also a line per message.
    Debug,
    /// Also what the libraries say. A release build logs no more than [`LogLevel::Debug`].
    Trace,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people to read.
    Text,
    /// A JSON object for programs, one in each line.
    Json,
}

pub(super) fn read(at: &Section<'_>) -> Result<Log, Reported> {
    let level = at.or("level", LogLevel::Info, parse::choice);
    let format = at.or("format", LogFormat::Text, parse::choice);
    Ok(Log { level: level?, format: format? })
}

impl LogLevel {
    /// Its word in settings.
    pub fn word(self) -> &'static str {
        Choice::word(self)
    }

    /// The level that this word names.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|(_, level)| *level)
    }
}

impl Choice for LogLevel {
    const ALL: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    const ALIASES: &'static [(&'static str, Self)] = &[
        ("critical", Self::Error),
        ("fatal", Self::Error),
        ("err", Self::Error),
        ("warning", Self::Warn),
        ("notice", Self::Info),
        ("information", Self::Info),
    ];
}

impl Choice for LogFormat {
    const ALL: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}
