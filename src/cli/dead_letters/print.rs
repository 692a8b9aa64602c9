//! What the command writes to standard output: for people, or for machines one JSON object a line.

use std::{
    io::{self, IsTerminal as _, Write},
    time::SystemTime,
};

use bytesize::ByteSize;
use serde_json::{Value, json};

use crate::{
    cli::terminal::{clean, clean_lines, escaped},
    dead_letter::Stored,
    replay::Summary,
};

/// What a replay has come to.
pub(super) struct Outcome {
    pub(super) summary: Summary,
    /// Letters that are in the stream now.
    pub(super) left: u64,
    /// Whether some were not tried.
    pub(super) is_interrupted: bool,
}

impl Outcome {
    /// Whether nothing is left to do.
    pub(super) const fn is_success(&self) -> bool {
        self.summary.failed == 0 && self.summary.not_removed == 0 && !self.is_interrupted
    }
}

pub(super) struct Printer {
    json: bool,
    /// Whether somebody looks at it, on something that obeys what it is sent.
    terminal: bool,
    rows: u64,
    out: io::BufWriter<io::Stdout>,
}

impl Printer {
    pub(super) fn new(json: bool) -> Self {
        let out = io::stdout();
        Self { json, terminal: out.is_terminal(), rows: 0, out: io::BufWriter::new(out) }
    }

    pub(super) fn row(&mut self, letter: &Stored) -> io::Result<()> {
        self.rows += 1;
        if self.json {
            return writeln!(self.out, "{}", escaped(&facts(letter)));
        }
        if self.rows == 1 {
            let names = ["ID", "SEQUENCE", "TIME", "REASON", "FAILURE", "ATTEMPTS", "SIZE"];
            columns(&mut self.out, names)?;
        }
        let (sequence, attempts) = (letter.sequence.to_string(), letter.attempts().to_string());
        let (time, size) = (time(letter.at), ByteSize::b(letter.size as u64).display().iec().to_string());
        let reason = clean(letter.reason().as_deref().unwrap_or("-"));
        let failure = clean(letter.last_failure().as_deref().unwrap_or("-"));
        columns(
            &mut self.out,
            [&clean(&letter.id().to_string()), &sequence, &time, &reason, &failure, &attempts, &size],
        )
    }

    pub(super) fn end(&mut self, count: u64) -> io::Result<()> {
        self.out.flush()?;
        // On standard error, so that a pipe gets letters and nothing else.
        if !self.json {
            eprintln!("{count} dead letters");
        }
        Ok(())
    }

    /// A letter with all of its headers and its payload.
    pub(super) fn whole(&mut self, letter: &Stored) -> io::Result<()> {
        if self.json {
            let mut value = facts(letter);
            let headers = letter.headers.iter().map(|(name, text)| json!([name, text]));
            value["headers"] = headers.collect();
            match std::str::from_utf8(&letter.payload) {
                Ok(text) => value["payload"] = text.into(),
                // JSON has no bytes. Another key, so that nobody takes the text for the payload.
                Err(_) => {
                    value["payload_base64"] = data_encoding::BASE64.encode(&letter.payload).into();
                }
            }
            writeln!(self.out, "{}", escaped(&value))?;
        } else {
            writeln!(self.out, "sequence: {}\ntime: {}", letter.sequence, time(letter.at))?;
            for (name, text) in letter.headers.iter() {
                writeln!(self.out, "{}: {}", clean(name), clean(&text))?;
            }
            writeln!(self.out)?;
            if self.terminal {
                let text = String::from_utf8_lossy(&letter.payload);
                self.out.write_all(clean_lines(&text).as_bytes())?;
            } else {
                self.out.write_all(&letter.payload)?;
            }
            writeln!(self.out)?;
        }
        self.out.flush()
    }

    pub(super) fn replayed(&mut self, outcome: &Outcome) -> io::Result<()> {
        let Outcome { summary, left, is_interrupted: interrupted } = *outcome;
        let Summary { delivered, failed, not_removed, orphans, .. } = summary;
        if self.json {
            let value = json!({
                "delivered": delivered, "failed": failed, "not_removed": not_removed, "left": left,
                "of_no_route": orphans, "interrupted": interrupted,
            });
            return writeln!(self.out, "{value}").and_then(|()| self.out.flush());
        }
        write!(self.out, "delivered {delivered}, failed {failed}, left {left}")?;
        if not_removed > 0 {
            write!(self.out, "; {not_removed} of the delivered could not be removed")?;
        }
        if orphans > 0 {
            write!(self.out, "; {orphans} are of routes that are not configured: --to-route says where to")?;
        }
        if interrupted {
            write!(self.out, "; it did not come to an end")?;
        }
        writeln!(self.out)?;
        self.out.flush()
    }

    pub(super) fn purged(&mut self, removed: u64) -> io::Result<()> {
        if self.json {
            writeln!(self.out, "{}", json!({ "removed": removed }))?;
        } else {
            writeln!(self.out, "removed {removed}")?;
        }
        self.out.flush()
    }
}

fn columns(
    out: &mut impl Write,
    [id, sequence, time, reason, failure, attempts, size]: [&str; 7],
) -> io::Result<()> {
    writeln!(
        out,
        "{id:<36}  {sequence:>10}  {time:<24}  {reason:<18}  {failure:<8}  {attempts:>8}  {size:>10}"
    )
}

fn facts(letter: &Stored) -> Value {
    json!({
        "id": letter.id().to_string(),
        "sequence": letter.sequence,
        "time": time(letter.at),
        "reason": letter.reason(),
        "last_failure": letter.last_failure(),
        "attempts": letter.attempts(),
        "size": letter.size,
        "subject": letter.original_subject(),
        "route": letter.route(),
    })
}

fn time(at: SystemTime) -> String {
    // A stream may say anything, and humantime panics at times before 1970.
    humantime::format_rfc3339_millis(at.max(SystemTime::UNIX_EPOCH)).to_string()
}
