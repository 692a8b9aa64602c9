//! Loading the configuration: the reference file, which sets everything, and a variable.

use std::{fs, path::Path};

use broadcaster::config::{self, Sources};
use criterion::{Criterion, Throughput};

pub(crate) fn bench(criterion: &mut Criterion) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/broadcaster.toml");
    let size = fs::metadata(&file).expect("the reference is there").len();
    let env = vec![("NATS_URL".into(), "nats://nats.example.com:4222".into())];
    let sources = Sources { file: Some(file), env, ..Sources::default() };

    let mut group = criterion.benchmark_group("config");
    group.throughput(Throughput::Bytes(size));
    group.bench_function("load", |bencher| {
        bencher.iter(|| config::load(sources.clone()).expect("a good configuration"));
    });
    group.finish();
}
