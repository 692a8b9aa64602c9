//! A child process that does not outlive the test.

use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A running child process; killed on drop.
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts `command`; `name` is what failures call it.
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { name: name.to_owned(), child }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the process writes to its stderr, when that was piped; once.
    pub fn take_stderr(&mut self) -> ChildStderr {
        self.child.stderr.take().expect("stderr is piped, and taken once")
    }

    /// What the process writes to its stdout, when that was piped; once.
    pub fn take_stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("stdout is piped, and taken once")
    }

    /// Sends `signal`.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal)
            .unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }

    /// How it ended, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits for the end; a panic when it takes longer than `deadline`.
    pub async fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let ended = super::poll(deadline, || self.ended()).await;
        ended.unwrap_or_else(|| panic!("{} still runs after {deadline:?}", self.name))
    }

    /// SIGKILL, and waits until it is gone. Nothing happens when it has ended already.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program that the tests need beside the daemon: the one that `variable` names, else the one in `.tools`, else the
/// one on `PATH`; a panic that says how to get it when there is none.
pub fn tool(name: &str, variable: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.tools/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(installed)
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{name} is neither in .tools/bin nor on PATH: run `make tools`"))
}
