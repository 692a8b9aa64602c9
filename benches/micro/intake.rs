//! Reading what a NATS server sends: messages of 256 bytes, without headers and with some.

use std::hint::black_box;

use broadcaster::message::header_names::nats::MESSAGE_ID;
use broadcaster::nats::intake::{Operation, Reader};
use criterion::{Criterion, Throughput};

/// As many as a read brings under load.
const MESSAGES: usize = 100;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("intake");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    let payload = "x".repeat(256);
    let headers = "NATS/1.0\r\nNats-Msg-Id: order-17\r\nContent-Type: application/json\r\n\r\n";
    let (header, total) = (headers.len(), headers.len() + payload.len());
    let reply = "$JS.ACK.TODOS.worker.1.2.3.1700000000000000000.4";
    let cases = [
        ("message", format!("MSG todos.events 1 256\r\n{payload}\r\n")),
        ("with headers", format!("HMSG todos.events 1 {reply} {header} {total}\r\n{headers}{payload}\r\n")),
    ];
    for (name, message) in cases {
        let bytes = message.repeat(MESSAGES);
        let mut reader = Reader::default();
        assert_eq!(read(&mut reader, bytes.as_bytes()), MESSAGES, "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| read(&mut reader, black_box(bytes.as_bytes()))));
    }
    group.finish();
}

/// Reads `bytes` as a connection would bring them: how many messages there are.
fn read(reader: &mut Reader, mut bytes: &[u8]) -> usize {
    let mut messages = 0;
    while !bytes.is_empty() {
        let room = reader.room();
        let (arrived, later) = bytes.split_at(bytes.len().min(room.capacity() - room.len()));
        room.extend_from_slice(arrived);
        bytes = later;
        while let Ok(Some(Operation::Message(message))) = reader.next() {
            let (headers, payload) = message.into_parts();
            black_box((headers.get_bytes(MESSAGE_ID), payload));
            messages += 1;
        }
    }
    messages
}
