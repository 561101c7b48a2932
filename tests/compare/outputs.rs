//! What load programs and the kernel print.

use std::time::Duration;

use super::core::outputs::{cpu_time, h2load, memory, wrk};

#[test]
fn the_line_of_wrk() {
    let text = "Running 2s test\n  1 threads\nTOTAL 100 2000000 7 1 850 3100\n";
    let totals = wrk(text).unwrap();
    assert_eq!((totals.answered, totals.refused, totals.broken), (100, 7, 1));
    assert_eq!(totals.elapsed, Duration::from_secs(2));
    let latencies = (Duration::from_micros(850), Duration::from_micros(3100));
    assert_eq!(totals.latencies, Some(latencies));
    assert_eq!(wrk("unable to connect"), None);
    assert_eq!(wrk("TOTAL 100 2000000"), None);
}

#[test]
fn the_report_of_h2load() {
    let text = "starting benchmark...\n\n\
        finished in 2.00s, 45000.50 req/s, 48.16MB/s\n\
        requests: 90001 total, 90321 started, 90001 done, 89990 succeeded, 11 failed, 3 errored, 2 timeout\n\
        status codes: 89990 2xx, 0 3xx, 6 4xx, 2 5xx\n\
        traffic: 96.30MB (100974591) total\n";
    let totals = h2load(text).unwrap();
    assert_eq!((totals.answered, totals.refused, totals.broken), (89998, 8, 5));
    assert_eq!(totals.elapsed, Duration::from_secs(2));
    assert_eq!(h2load("connect error"), None);
    let short = text.replace("2.00s", "950.00ms");
    assert_eq!(h2load(&short).unwrap().elapsed, Duration::from_millis(950));
}

#[test]
fn the_time_of_a_process_whose_name_is_odd() {
    let stat = "42 (a ) 1) R 1 42 42 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 1 0 100 1 1";
    assert_eq!(cpu_time(stat), Some(Duration::from_secs(2)));
    assert_eq!(cpu_time("42 (short) R 1"), None);
}

#[test]
fn the_memory_of_a_process() {
    let rollup =
        "00400000-7ff [rollup]\nRss:               90000 kB\nPss:               20480 kB\n";
    assert_eq!(memory(rollup), Some(20 << 20));
    assert_eq!(memory(""), None);
}
