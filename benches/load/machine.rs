//! The machine: who runs on which processor, and what the kernel says of a process.

use std::time::Duration;

use procfs::{CpuInfo, Current as _, process::Process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors, divided between the one that is measured and all others: the publisher, the receiver, nats-server.
pub(crate) struct Processors {
    all: Vec<usize>,
}

impl Processors {
    /// Those that this program may use.
    pub(crate) fn available() -> Self {
        let set = sched_getaffinity(None).expect("the kernel tells the affinity");
        Self { all: (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect() }
    }

    /// Runs `start` on the first `count` processors: the processes that it starts stay there. The rest of this thread,
    /// and the threads and processes that it starts later, have the others.
    pub(crate) async fn apart<T>(&self, count: usize, start: impl Future<Output = T>) -> T {
        let (theirs, ours) = self.all.split_at(count.min(self.all.len()));
        bind(theirs);
        let started = start.await;
        bind(if ours.is_empty() { &self.all } else { ours });
        started
    }

    /// What the machine is, in a few words.
    pub(crate) fn describe(&self) -> String {
        let model = CpuInfo::current().ok().and_then(|info| info.model_name(0).map(str::to_owned));
        format!("{} × {}", self.all.len(), model.as_deref().unwrap_or("an unknown processor"))
    }

    /// Leaves the first `count` processors to others.
    pub(crate) fn leave(&self, count: usize) {
        let ours = self.all.get(count..).filter(|ours| !ours.is_empty());
        bind(ours.unwrap_or(&self.all));
    }
}

/// The processors of this thread.
fn bind(cpus: &[usize]) {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|&cpu| set.set(cpu));
    sched_setaffinity(None, &set).expect("the kernel takes an affinity that it gave");
}

/// The CPU time of `process` so far, user and system.
pub(crate) fn cpu_time(process: &Process) -> Duration {
    let stat = process.stat().expect("a running process has statistics");
    let tick = Duration::from_secs(1) / u32::try_from(procfs::ticks_per_second()).expect("some hundred");
    tick * u32::try_from(stat.utime + stat.stime).expect("a short run")
}

/// The most resident memory that `process` ever had, in KiB.
pub(crate) fn peak_rss(process: &Process) -> u64 {
    process.status().ok().and_then(|status| status.vmhwm).expect("a running process has memory")
}
