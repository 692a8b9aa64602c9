//! A control group of the kernel that limits memory, as a pod has one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::{fs, io};

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A control group that is there for as long as this is.
pub struct ControlGroup {
    folder: PathBuf,
    unified: bool,
}

impl ControlGroup {
    /// A group whose processes may have `bytes` of memory together, with what the kernel has in their sockets. Fails
    /// where this process may not make one: most often only root may, and in a container not even that.
    pub fn limited_to(bytes: u64) -> io::Result<Self> {
        let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let root = Path::new(if unified { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/memory" });
        let number = NEXT.fetch_add(1, Relaxed);
        let folder = root.join(format!("broadcaster-test-{}-{number}", std::process::id()));
        fs::create_dir(&folder)?;
        let group = Self { folder, unified };
        let limits: &[_] = if unified {
            &["memory.max"]
        } else {
            // The first version of control groups counts sockets only where they have a limit, and apart.
            &["memory.limit_in_bytes", "memory.kmem.tcp.limit_in_bytes"]
        };
        for limit in limits {
            fs::write(group.folder.join(limit), bytes.to_string())?;
        }
        Ok(group)
    }

    /// `program`, to be run in the group from its first instruction on.
    pub fn run(&self, program: &Path) -> Command {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", r#"echo $$ > "$0" && exec "$@""#])
            .arg(self.folder.join("cgroup.procs"))
            .arg(program);
        shell
    }

    /// How much memory the sockets of the group have taken.
    pub fn sockets(&self) -> u64 {
        if self.unified {
            let stat = fs::read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
            let line = stat.lines().find_map(|line| line.strip_prefix("sock "));
            return line.and_then(|bytes| bytes.parse().ok()).expect("the kernel counts sockets");
        }
        self.number("memory.kmem.tcp.usage_in_bytes")
    }

    /// How much memory was ever taken at the same time, of files that can be given up at any time as well.
    pub fn peak(&self) -> u64 {
        self.number(if self.unified { "memory.peak" } else { "memory.max_usage_in_bytes" })
    }

    fn number(&self, file: &str) -> u64 {
        let text = fs::read_to_string(self.folder.join(file));
        text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or_else(|| panic!("{file} has a number"))
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // It can be removed when its last process is gone. A group that stays behind is empty, and does no harm.
        drop(fs::remove_dir(&self.folder));
    }
}
