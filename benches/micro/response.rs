//! Reading an ordinary answer: at once, in two parts, in chunks, and after one that began in the same way.

use std::hint::black_box;

use broadcaster::deliver::h1::response::{KnownHead, Malformed, Progress, ResponseReader};
use criterion::{Criterion, Throughput};

const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nserver: nginx\r\ndate: Mon, 23 Nov 2026 12:00:00 GMT\r\n\
    content-type: application/json\r\ncontent-length: 11\r\nconnection: keep-alive\r\n\r\n{\"ok\":true}";
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nserver: nginx\r\ndate: Mon, 23 Nov 2026 12:00:00 GMT\r\n\
    content-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n\
    6\r\n{\"ok\":\r\n5\r\ntrue}\r\n0\r\n\r\n";

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("response");
    group.throughput(Throughput::Elements(1));
    let cases = [
        ("whole", WHOLE, WHOLE.len()),
        ("cut in two", WHOLE, WHOLE.len() / 2),
        ("chunked", CHUNKED, CHUNKED.len()),
    ];
    for (name, response, first) in cases {
        let progress = read(response, first);
        assert!(matches!(progress, Ok(Progress::Complete { reusable: true, .. })), "{name}: {progress:?}");
        group.bench_function(name, |bencher| bencher.iter(|| read(black_box(response), first)));
    }
    let mut known = KnownHead::default();
    let mut read_again = |bytes| ResponseReader::default().read_after(bytes, false, &mut known);
    group.bench_function("like the one before", |bencher| bencher.iter(|| read_again(black_box(WHOLE))));
    group.finish();
}

/// Reads `response`, the `first` bytes of which come before the rest.
fn read(response: &[u8], first: usize) -> Result<Progress, Malformed> {
    let mut reader = ResponseReader::default();
    match reader.read(&response[..first], false)? {
        (taken, Progress::More) => reader.read(&response[taken..], false).map(|(_, progress)| progress),
        (_, complete) => Ok(complete),
    }
}
