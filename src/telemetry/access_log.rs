//! The access log: one line an exchange, from the workers to standard output.
//!
//! A worker appends to a buffer of its own and goes on; a writer thread swaps the buffers for empty
//! ones some times a second, or when one has filled up, and sleeps while nobody asks for anything.
//! A log that cannot be written (a full disk, a reader that stopped) costs lines, which are counted,
//! and never a request's time or unbounded memory.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::line;
use super::metrics::Metrics;
use super::per_thread::{Local, PerThread};
use super::record::Record;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Apache's combined format, for tools that know nothing else; it has no room for most fields.
    Combined,
    /// One JSON object a line. The default.
    #[default]
    Json,
}

/// The access log of one app. The writer ends, with everything written, when this is dropped.
#[derive(Debug)]
pub struct AccessLog(Option<Running>);

impl AccessLog {
    /// A log that writes nothing.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Starts the writer. `sink` is standard output; it may block.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(
        format: Format,
        sink: Box<dyn Write + Send>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            format,
            metrics,
            buffers: PerThread::new(&BUFFERS),
            idle: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            flushed: Mutex::new(0),
            progress: Condvar::new(),
        });
        let mut writer = Writer { shared: Arc::clone(&shared), sink, torn: false, failing: false };
        let thread =
            thread::Builder::new().name("access-log".to_owned()).spawn(move || writer.run())?;
        Ok(Self(Some(Running { shared, writer: thread.thread().clone() })))
    }

    /// Hands a line over. Never blocks: if the writer is too far behind, the line is lost and
    /// counted.
    pub fn write(&self, record: &Record<'_>) {
        let Some(Running { shared, writer }) = &self.0 else { return };
        let written = shared.buffers.with(|slot| slot.front.lock().append(shared.format, record));
        match written {
            Appended::Dropped => shared.metrics.access_log_dropped(1),
            Appended::Filled => writer.unpark(),
            Appended::First if shared.idle.load(Ordering::SeqCst) => writer.unpark(),
            Appended::First | Appended::More => {}
        }
    }

    /// Waits, blocking the thread, until all lines handed over before are written, but at most
    /// `within`. Says whether they are. For the end of a drain, after the workers.
    pub fn flush(&self, within: Duration) -> bool {
        let Some(Running { shared, writer }) = &self.0 else { return true };
        let ticket = shared.asked.fetch_add(1, Ordering::SeqCst) + 1;
        writer.unpark();
        let mut flushed = shared.flushed.lock();
        shared.progress.wait_while_for(&mut flushed, |flushed| *flushed < ticket, within);
        *flushed >= ticket
    }
}

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    writer: Thread,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.writer.unpark();
    }
}

/// What the log and its writer share.
#[derive(Debug)]
struct Shared {
    format: Format,
    metrics: Arc<Metrics>,
    buffers: PerThread<Buffer>,
    /// The writer is about to sleep without an alarm: the next first line has to wake it.
    idle: AtomicBool,
    ended: AtomicBool,
    /// How many flushes were asked for, and how many of them are done.
    asked: AtomicU64,
    flushed: Mutex<u64>,
    progress: Condvar,
}

/// Lines of one thread that wait for the writer.
#[derive(Debug, Default)]
struct Buffer(Vec<u8>);

/// What appending a line did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Appended {
    /// There was no room.
    Dropped,
    /// The buffer has just become worth a write of its own.
    Filled,
    /// The buffer was empty before.
    First,
    /// None of these.
    More,
}

impl Buffer {
    fn append(&mut self, format: Format, record: &Record<'_>) -> Appended {
        let before = self.0.len();
        if before >= CAPACITY {
            return Appended::Dropped;
        }
        match format {
            Format::Combined => line::combined(&mut self.0, record),
            Format::Json => line::json(&mut self.0, record),
        }
        self.0.push(b'\n');
        match before {
            0 => Appended::First,
            1..WORTH_A_WRITE if self.0.len() >= WORTH_A_WRITE => Appended::Filled,
            _ => Appended::More,
        }
    }
}

/// The thread that writes.
struct Writer {
    shared: Arc<Shared>,
    sink: Box<dyn Write + Send>,
    /// The last write ended within a line.
    torn: bool,
    /// The last write failed, and this was said.
    failing: bool,
}

impl Writer {
    /// # Race window
    /// A line may be appended after the writer found nothing and before `idle` is up, so that its
    /// worker wakes nobody. The writer therefore looks once more after raising the flag: the
    /// buffer's lock orders that look and the worker's append, so one of them sees the other.
    fn run(&mut self) {
        let mut idle = false;
        loop {
            // Read before the buffers, so that what came before the question is part of the answer.
            let ended = self.shared.ended.load(Ordering::SeqCst);
            let asked = self.shared.asked.load(Ordering::SeqCst);
            let wrote = self.drain();
            *self.shared.flushed.lock() = asked;
            self.shared.progress.notify_all();
            if ended {
                return;
            }
            match (wrote, idle) {
                (true, _) => self.pause(asked),
                (false, true) => {
                    thread::park();
                    self.pause(asked);
                }
                (false, false) => {}
            }
            idle = !wrote && !idle;
            self.shared.idle.store(idle, Ordering::SeqCst);
        }
    }

    /// Lets lines gather, unless somebody waits for them.
    fn pause(&self, asked: u64) {
        let ended = self.shared.ended.load(Ordering::SeqCst);
        if !ended && self.shared.asked.load(Ordering::SeqCst) == asked {
            thread::park_timeout(INTERVAL);
        }
    }

    /// Writes what has gathered; says whether there was anything.
    fn drain(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut any = false;
        shared.buffers.drain(|buffer| {
            if !buffer.0.is_empty() {
                any = true;
                self.write(&buffer.0);
                buffer.0.clear();
                buffer.0.shrink_to(KEPT);
            }
        });
        any
    }

    fn write(&mut self, lines: &[u8]) {
        let result = if self.torn { self.sink.write_all(b"\n") } else { Ok(()) };
        let (rest, result) = match result {
            Ok(()) => write_most(&mut self.sink, lines),
            Err(error) => (lines, Err(error)),
        };
        let result = result.and_then(|()| self.sink.flush());
        let written = lines.len() - rest.len();
        if let Some(last) = written.checked_sub(1).and_then(|last| lines.get(last)) {
            self.torn = *last != b'\n';
        }
        match result {
            Ok(()) => self.failing = false,
            Err(error) => {
                let lost = rest.iter().filter(|byte| **byte == b'\n').count();
                self.shared.metrics.access_log_dropped(lost as u64);
                if !self.failing {
                    tracing::error!(%error, lost, "the access log cannot be written");
                }
                self.failing = true;
            }
        }
    }
}

/// As `write_all`, but tells what was left when it failed.
fn write_most<'a>(sink: &mut dyn Write, mut rest: &'a [u8]) -> (&'a [u8], io::Result<()>) {
    while !rest.is_empty() {
        match sink.write(rest) {
            Ok(0) => return (rest, Err(io::ErrorKind::WriteZero.into())),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (rest, Err(error)),
        }
    }
    (rest, Ok(()))
}

thread_local! {
    static BUFFERS: Local<Buffer> = const { RefCell::new(Vec::new()) };
}

/// How long lines gather: short enough for `tail -f`, long enough to share a system call.
const INTERVAL: Duration = Duration::from_millis(50);

/// Bytes of a buffer that are worth a write before [`INTERVAL`] is over.
const WORTH_A_WRITE: usize = 64 * 1024;

/// Bytes of a buffer past which lines are lost: some 200 ms of a worker at full speed. Two such
/// buffers a worker are the most memory that a stuck log costs.
const CAPACITY: usize = 4 * 1024 * 1024;

/// Bytes of a buffer that are kept when it has been written.
const KEPT: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Hands what it is written to the test; stands still while the test holds `gate`.
    struct Sink {
        gate: Arc<Mutex<()>>,
        to: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _open = self.gate.lock();
            self.to.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Setup {
        metrics: Arc<Metrics>,
        log: AccessLog,
        gate: Arc<Mutex<()>>,
        from: mpsc::Receiver<Vec<u8>>,
    }

    impl Setup {
        fn new() -> Self {
            let metrics = Metrics::new();
            let gate = Arc::new(Mutex::new(()));
            let (to, from) = mpsc::channel();
            let sink = Box::new(Sink { gate: Arc::clone(&gate), to });
            let log = AccessLog::start(Format::Json, sink, Arc::clone(&metrics)).unwrap();
            Self { metrics, log, gate, from }
        }

        fn record(&self) -> Record<'static> {
            Record::sample(self.metrics.listener("main"), self.metrics.route("/*"))
        }

        fn written(&self) -> Vec<u8> {
            self.from.try_iter().flatten().collect()
        }

        fn dropped(&self) -> u64 {
            let text = self.metrics.render();
            let line = text.lines().find(|l| l.starts_with("portcullis_access_log_dropped_total "));
            line.unwrap().split(' ').nth(1).unwrap().parse().unwrap()
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn lines_of_all_threads_are_written_whole() {
        let setup = Setup::new();
        let record = setup.record();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|_| setup.log.write(&record)));
            }
        });
        assert!(setup.log.flush(LONG));
        let written = String::from_utf8(setup.written()).unwrap();
        assert_eq!(written.lines().count(), 2000);
        for line in written.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["msg"], "request");
        }
        assert_eq!(setup.dropped(), 0);
    }

    #[test]
    fn a_line_comes_out_without_a_flush_again_and_again() {
        let setup = Setup::new();
        for _ in 0..3 {
            setup.log.write(&setup.record());
            assert!(setup.from.recv_timeout(LONG).unwrap().ends_with(b"}\n"));
            // The writer may or may not have gone to sleep by now: both must wake for the next.
            assert!(setup.log.flush(LONG));
        }
    }

    #[test]
    fn a_stuck_log_loses_lines_and_says_how_many() {
        let setup = Setup::new();
        let record = setup.record();
        let closed = setup.gate.lock();
        let mut written = 0_u64;
        while setup.dropped() < 3 {
            (0..10_000).for_each(|_| setup.log.write(&record));
            written += 10_000;
        }
        assert!(!setup.log.flush(Duration::from_millis(1)));
        drop(closed);
        assert!(setup.log.flush(LONG));
        let lines = setup.written().iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(lines + setup.dropped(), written);
    }

    #[test]
    fn dropping_the_log_writes_the_rest_and_ends_the_writer() {
        let Setup { metrics, log, gate: _gate, from } = Setup::new();
        log.write(&Record::sample(metrics.listener("main"), metrics.route("/*")));
        drop(log);
        let all: Vec<u8> = from.iter().flatten().collect();
        assert!(all.ends_with(b"}\n"));
    }

    #[test]
    fn a_torn_line_does_not_swallow_the_next() {
        /// Fails within the first line, then works.
        struct Flaky(Arc<Mutex<Vec<u8>>>, u8);
        impl Write for Flaky {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.1 += 1;
                match self.1 {
                    1 => {
                        self.0.lock().extend_from_slice(&bytes[..10]);
                        Ok(10)
                    }
                    2 => Err(io::ErrorKind::StorageFull.into()),
                    _ => {
                        self.0.lock().extend_from_slice(bytes);
                        Ok(bytes.len())
                    }
                }
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let metrics = Metrics::new();
        let to = Arc::new(Mutex::new(Vec::new()));
        let sink = Box::new(Flaky(Arc::clone(&to), 0));
        let log = AccessLog::start(Format::Json, sink, Arc::clone(&metrics)).unwrap();
        let record = Record::sample(metrics.listener("main"), metrics.route("/*"));
        log.write(&record);
        assert!(log.flush(LONG));
        log.write(&record);
        assert!(log.flush(LONG));
        let written = String::from_utf8(to.lock().clone()).unwrap();
        let lines: Vec<_> = written.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len(), 10);
        assert!(serde_json::from_str::<serde_json::Value>(lines[1]).is_ok());
        assert!(metrics.render().contains("portcullis_access_log_dropped_total 1\n"));
    }

    #[test]
    fn a_log_that_is_off_takes_everything() {
        let metrics = Metrics::new();
        let log = AccessLog::off();
        log.write(&Record::sample(metrics.listener("main"), metrics.route("/*")));
        assert!(log.flush(Duration::ZERO));
    }
}
