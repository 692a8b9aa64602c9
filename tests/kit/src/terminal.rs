//! A program on a terminal of its own, and what it writes there.

use std::{
    fs::File,
    io::Read as _,
    os::fd::OwnedFd,
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags, open},
    process::Signal,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

use super::{daemon, poll, process::Process};

/// A program whose standard output is a terminal.
pub struct Terminal {
    process: Process,
    written: Arc<Mutex<Vec<u8>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Terminal {
    /// Starts the binary with these arguments and these variables alone.
    pub fn start(arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("it is ours");
        let name = ptsname(&ours, Vec::new()).expect("it has a name");
        let its = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("it can be opened");
        let mut command = Command::new(daemon::binary());
        command.args(arguments).env_clear().envs(env.iter().copied());
        command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(its);
        let process = Process::spawn("broadcaster on a terminal", &mut command);
        // The terminal ends with the last who has it open, and the command has, too.
        drop(command);
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let pages = Arc::clone(&written);
        let reader = thread::spawn(move || read_all(ours, &pages));
        Self { process, written, reader: Some(reader) }
    }

    /// What it has written so far.
    pub fn written(&self) -> String {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        // A terminal makes two characters of a line break.
        String::from_utf8_lossy(&written).replace("\r\n", "\n")
    }

    /// Returns what it has written when that is as `wanted`; a panic when it is not in time.
    pub async fn wait(&self, wanted: impl Fn(&str) -> bool, deadline: Duration) -> String {
        let found = poll(deadline, || Some(self.written()).filter(|written| wanted(written))).await;
        found.unwrap_or_else(|| panic!("never as wanted: {:?}", self.written()))
    }

    /// Ends it. Not as ^C does: whoever runs in the background of a shell ignores that, and so do its children.
    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Waits for the end, and returns how it ended and all that it has written.
    pub async fn end(mut self, deadline: Duration) -> (ExitStatus, String) {
        let status = self.process.wait(deadline).await;
        if let Some(reader) = self.reader.take() {
            reader.join().expect("it reads");
        }
        (status, self.written())
    }
}

fn read_all(terminal: OwnedFd, pages: &Mutex<Vec<u8>>) {
    let mut terminal = File::from(terminal);
    let mut buffer = [0; 4096];
    // Linux answers with an error where the other end is closed.
    while let Ok(count @ 1..) = terminal.read(&mut buffer) {
        let read = buffer.get(..count).unwrap_or_default();
        pages.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(read);
    }
}
