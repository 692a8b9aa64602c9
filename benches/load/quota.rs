//! A CPU quota, as a pod has it: a control group of the kernel. Needs the permission to make one, so root most of the time.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Kubernetes gives CPU time for periods of this length.
const PERIOD: Duration = Duration::from_millis(100);

/// A control group that is there for as long as this is.
pub(crate) struct Quota {
    folder: PathBuf,
}

impl Quota {
    /// A group with `millicores` thousandths of a core.
    pub(crate) fn new(millicores: u32) -> Self {
        Self::create(millicores).expect("control groups can be made, most often by root only")
    }

    fn create(millicores: u32) -> io::Result<Self> {
        let quota = PERIOD.as_micros() * u128::from(millicores) / 1000;
        let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let root = Path::new(if unified { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/cpu" });
        let group = Self { folder: root.join(format!("broadcaster-{}", std::process::id())) };
        fs::create_dir_all(&group.folder)?;
        let period = PERIOD.as_micros();
        if unified {
            fs::write(group.folder.join("cpu.max"), format!("{quota} {period}"))?;
        } else {
            fs::write(group.folder.join("cpu.cfs_period_us"), period.to_string())?;
            fs::write(group.folder.join("cpu.cfs_quota_us"), quota.to_string())?;
        }
        Ok(group)
    }

    /// From now on the process with this id has no more than the quota.
    pub(crate) fn limit(&self, process: u32) {
        let moved = fs::write(self.folder.join("cgroup.procs"), process.to_string());
        moved.expect("the kernel takes a process into the group");
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // It can be removed when its last process is gone. A group that stays behind is empty, and does no harm.
        drop(fs::remove_dir(&self.folder));
    }
}
