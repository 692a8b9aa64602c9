//! What the kernel says about the process, under the names that every Prometheus client uses. The client library for
//! Rust has no such metrics (`prometheus/client_rust#29`).

use procfs::process::{LimitValue, Process as Proc};
use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::single;

#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        // Where /proc is not mounted these metrics are missing, and the rest of the page is there.
        let Ok(process) = Proc::myself() else {
            return Ok(());
        };
        let Ok(stat) = process.stat() else { return Ok(()) };
        let ticks = procfs::ticks_per_second();
        let mut gauge = |name: &str, help: &str, value: f64| {
            single(&mut encoder, name, help, MetricType::Gauge, &ConstGauge::new(value))
        };
        #[expect(clippy::cast_precision_loss, reason = "a float is what a metric is")]
        {
            gauge(
                "process_resident_memory_bytes",
                "Resident memory",
                (stat.rss * procfs::page_size()) as f64,
            )?;
            gauge("process_virtual_memory_bytes", "Virtual memory", stat.vsize as f64)?;
            gauge("process_threads", "Threads", stat.num_threads as f64)?;
            if let Ok(open) = process.fd_count() {
                gauge("process_open_fds", "Open file descriptors", open as f64)?;
            }
            if let Some(most) = descriptors() {
                gauge("process_max_fds", "Open file descriptors that are allowed", most as f64)?;
            }
            if let Ok(boot) = procfs::boot_time_secs() {
                let start = boot as f64 + stat.starttime as f64 / ticks as f64;
                gauge("process_start_time_seconds", "Start of the process, in seconds since 1970", start)?;
            }
            let cpu = (stat.utime + stat.stime) as f64 / ticks as f64;
            let help = "CPU time, of user and system together";
            single(&mut encoder, "process_cpu_seconds", help, MetricType::Counter, &ConstCounter::new(cpu))
        }
    }
}

/// How many file descriptors the process may have. None where that can't be told, or is as many as one wants.
pub(in crate::control) fn descriptors() -> Option<u64> {
    match Proc::myself().ok()?.limits().ok()?.max_open_files.soft_limit {
        LimitValue::Value(most) => Some(most),
        LimitValue::Unlimited => None,
    }
}
