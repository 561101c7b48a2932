//! The retry proof: 100,000 requests to an application that breaks connections at random. Another
//! number by `PORTCULLIS_REQUESTS`.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use portcullis::clock::Clock;

use crate::support::client::Client;
use crate::support::gateway::Setup;

/// No divisor of it is one of the number of kinds: every client sends them all.
const CLIENTS: usize = 15;

/// Method and body, and how often such a request may arrive at the most.
const KINDS: [(&str, &str, usize); 8] = [
    ("GET", "", 3),
    ("POST", "x", 1),
    ("DELETE", "", 3),
    ("PATCH", "x", 1),
    ("PUT", "", 3),
    ("PUT", "x", 1),
    ("POST", "", 1),
    ("PURGE", "", 1),
];

/// How many requests of a kind got a status.
type Seen = BTreeMap<(usize, u16), usize>;

#[test]
fn of_a_hundred_thousand_with_random_resets_no_request_that_is_not_idempotent_is_sent_twice() {
    let whole = std::env::var("PORTCULLIS_REQUESTS").map_or(100_000, |text| text.parse().unwrap());
    let application = Application::start(whole);
    let gateway = Setup::new().start(&format!(
        "[listener.main]\naddress = \"127.0.0.1:0\"\n[log]\naccess = \"off\"\n\
         [upstream.web]\nendpoints = [\"http://{}\"]\n\
         [[route]]\npath = \"/*\"\nupstream = \"web\"\npublic = true\n",
        application.address
    ));
    let address = gateway.address("main");
    let clock = Clock::system();
    let begun = clock.now();
    let seen = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(move || client(address, number, whole)))
            .collect();
        let mut seen = Seen::new();
        for (key, count) in clients.into_iter().flat_map(|client| client.join().unwrap()) {
            *seen.entry(key).or_default() += count;
        }
        seen
    });
    let took = clock.now().duration_since(begun);

    let arrived: Vec<_> =
        application.arrived.iter().map(|times| times.load(Ordering::SeqCst)).collect();
    let (mut again, mut twice) = (0, 0);
    for (number, &times) in arrived.iter().enumerate() {
        let (method, body, most) = KINDS[number % KINDS.len()];
        if times > most {
            println!("{method} {number} with {} bytes arrived {times} times", body.len());
        }
        let counted = if most == 1 { &mut twice } else { &mut again };
        *counted += usize::from(times > 1);
        assert!(most == 1 || times <= most, "more than it may be sent again");
    }
    let with = |status: u16, idempotent: bool| -> usize {
        let of = |(kind, got): &(usize, u16)| *got == status && (KINDS[*kind].2 > 1) == idempotent;
        seen.iter().filter(|(key, _)| of(key)).map(|(_, count)| count).sum()
    };
    let [instead, behind, closed] =
        [0, 1, 2].map(|at: usize| application.broken[at].load(Ordering::SeqCst));
    println!(
        "{whole} requests in {took:.1?}; {instead} resets instead of an answer, {behind} behind one, \
         {closed} closes behind one\n\
         idempotent: {} answered, {} 502, {again} arrived more than once\n\
         others: {} answered, {} 502, {twice} arrived more than once",
        with(200, true),
        with(502, true),
        with(200, false),
        with(502, false),
    );
    assert_eq!(twice, 0);
    assert_eq!(seen.values().sum::<usize>(), whole);
    // It would show nothing if nothing broke, nothing were sent again, or nothing were lost.
    assert!(instead > whole / 50 && behind > whole / 50 && closed > whole / 50);
    assert!(again > whole / 100 && with(502, false) > 0);
}

/// Counts what arrives, by the number in its path. One request in twelve is answered by a reset, one
/// answer in twelve is followed by a reset, and two by a close.
struct Application {
    address: SocketAddr,
    arrived: Arc<Vec<AtomicUsize>>,
    /// Resets instead of an answer, resets behind one, closes behind one.
    broken: Arc<[AtomicUsize; 3]>,
}

impl Application {
    fn start(whole: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let arrived: Arc<Vec<_>> = Arc::new((0..whole).map(|_| AtomicUsize::new(0)).collect());
        let broken: Arc<[AtomicUsize; 3]> = Arc::default();
        let application =
            Self { address, arrived: Arc::clone(&arrived), broken: Arc::clone(&broken) };
        let turn = Arc::new(AtomicU64::new(1));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (arrived, broken) = (Arc::clone(&arrived), Arc::clone(&broken));
                let turn = Arc::clone(&turn);
                // What breaks is no failure here.
                thread::spawn(move || drop(serve(&stream, &arrived, &broken, &turn)));
            }
        });
        application
    }
}

fn serve(
    stream: &TcpStream,
    arrived: &[AtomicUsize],
    broken: &[AtomicUsize; 3],
    turn: &AtomicU64,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reading = BufReader::new(stream);
    let mut writing = stream;
    loop {
        let (mut line, mut length) = (String::new(), 0);
        if reading.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let target = line.split(' ').nth(1).and_then(|target| target.get(1..)).unwrap();
        let number: usize = target.parse().unwrap();
        loop {
            let mut header = String::new();
            reading.read_line(&mut header)?;
            let Some((name, value)) = header.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap();
            }
        }
        reading.read_exact(&mut vec![0; length])?;
        arrived[number].fetch_add(1, Ordering::SeqCst);
        let mut x = turn.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let fate = (x >> 33) % 12;
        if fate > 0 {
            writing.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
        if fate < 2 {
            socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
        }
        if fate < 4 {
            broken[usize::try_from(fate.min(2)).unwrap()].fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
    }
}

/// Its share of the requests, over connections that are kept.
fn client(address: SocketAddr, number: usize, whole: usize) -> Seen {
    let mut seen = Seen::new();
    let mut kept = None;
    for nth in (number..whole).step_by(CLIENTS) {
        let kind = nth % KINDS.len();
        let (method, body, _) = KINDS[kind];
        let client = kept.get_or_insert_with(|| Client::tcp(address));
        let length = body.len();
        let head = "HTTP/1.1\r\nHost: localhost\r\nContent-Length:";
        client.send(format!("{method} /{nth} {head} {length}\r\n\r\n{body}"));
        let response = client.try_response(method);
        let response = response.unwrap_or_else(|broken| panic!("{method} {nth}: {broken}"));
        match response.status {
            200 => assert_eq!(response.text(), "ok"),
            502 => assert_eq!(response.json()["code"], "upstream_failed"),
            other => panic!("{method} {nth}: {other} {}", response.text()),
        }
        *seen.entry((kind, response.status)).or_default() += 1;
        if response.closes {
            kept = None;
        }
    }
    seen
}
