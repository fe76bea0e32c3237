//! HTTP/2 used against the edge: streams that are reset as soon as they are
//! opened, headers that never end, pings and settings without number.

use std::time::Duration;

use super::{
    bench::Bench,
    raw::{exchange_within, field, frame, post_fields, preface, tls},
};

const RESET_STREAMS: u32 = 2_000;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_frames_are_bounded() {
    let mut bench = Bench::start().await;
    let address = bench.sandbox.edges[0].address();
    let ca = std::fs::read(&bench.sandbox.web.ca).unwrap();
    let streams = |end: fn(u32) -> Vec<u8>| -> Vec<u8> {
        (0..RESET_STREAMS)
            .flat_map(|number| {
                let id = 2 * number + 1;
                [frame(HEADERS, END_HEADERS, id, &post_fields()), end(id)].concat()
            })
            .collect()
    };
    let rapid_reset = streams(|id| frame(RST_STREAM, 0, id, &8u32.to_be_bytes()));
    let too_many_at_once = streams(|_| Vec::new());
    let without_end: Vec<u8> = std::iter::once(frame(HEADERS, 0, 1, &post_fields()))
        .chain((0..2_000).map(|number| frame(CONTINUATION, 0, 1, &field(&format!("x-{number}"), &"v".repeat(100)))))
        .flatten()
        .collect();
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(5_000);
    let settings = frame(SETTINGS, 0, 0, b"").repeat(5_000);
    let empty: Vec<u8> =
        [frame(HEADERS, END_HEADERS, 1, &post_fields()), frame(DATA, 0, 1, b"").repeat(5_000)].concat();
    // (what, bytes, whether the edge must end the connection)
    let cases = [
        ("rapid reset", rapid_reset, true),
        ("headers without end", without_end, true),
        ("a frame on stream 0", frame(HEADERS, END_HEADERS | END_STREAM, 0, &post_fields()), true),
        ("header compression that is none", frame(HEADERS, END_HEADERS, 1, &[0xff; 64]), true),
        ("a frame larger than allowed", frame(DATA, 0, 1, &vec![0; 100_000]), true),
        ("more streams than allowed", too_many_at_once, false),
        ("pings", pings, false),
        ("settings", settings, false),
        ("empty frames", empty, false),
    ];
    for (what, bytes, must_end) in cases {
        let stream = tls(address, &ca, &["h2"]).await.unwrap();
        let patience = if must_end { super::bench::SOON } else { Duration::from_secs(2) };
        let answer = exchange_within(patience, stream, &[preface(), bytes].concat()).await;
        assert!(answer.is_some() || !must_end, "{what}: the connection stays open");
        bench.still_good(what).await;
    }
    bench.nothing_lost().await;
    bench.stop().await;
}
