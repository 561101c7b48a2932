use std::sync::atomic::AtomicUsize;

use super::super::balance::{Balance, Choice, Key};
use super::super::sticky::Marks;
use super::super::tests::on_ports;
use super::super::{Address, endpoint};
use super::*;

fn name(backup: bool) -> Settings {
    Settings { host: "web".to_owned(), port: 80, weight: 1, backup, last: Vec::new() }
}

fn upstream(balance: Balance) -> Arc<Upstream> {
    let mut settings = on_ports(&[], balance);
    settings.names = vec![name(false)];
    settings.marks = Some(Marks::new(b"a secret"));
    Arc::new(Upstream::new(settings))
}

fn at(last: usize) -> SocketAddr {
    format!("10.0.0.{last}:80").parse().unwrap()
}

fn answers(upstream: &Upstream, last: &[usize]) {
    upstream.resolved(&upstream.names[0], Ok(last.iter().map(|last| at(*last)).collect()));
}

fn standing(upstream: &Upstream) -> Vec<(usize, SocketAddr)> {
    upstream.standing(&upstream.names[0]).map(|(index, _, at)| (index, at)).collect()
}

/// Where requests go, in the order of addresses.
fn chosen(upstream: &Upstream) -> Vec<SocketAddr> {
    let mut all: Vec<_> = (0..64)
        .map(|_| match upstream.choose(&[], Key::None) {
            Choice::Claimed(index, _slot) => upstream.endpoints()[index].resolved().unwrap(),
            Choice::Full | Choice::None => panic!("no endpoint"),
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[tokio::test]
async fn a_name_that_is_down_is_no_endpoint_until_it_is_up() {
    for balance in [Balance::LeastRequests, Balance::RoundRobin] {
        let upstream = upstream(balance);
        assert!(matches!(upstream.choose(&[], Key::None), Choice::None));
        upstream.resolved(&upstream.names[0], Err(io::ErrorKind::NotFound.into()));
        upstream.resolved(&upstream.names[0], Ok(Vec::new()));
        assert!(matches!(upstream.choose(&[], Key::None), Choice::None));
        assert_eq!(upstream.names().next().unwrap(), ("dns://web:80".to_owned(), 0, true));
        answers(&upstream, &[2, 1, 2]);
        assert_eq!(chosen(&upstream), [at(1), at(2)]);
        // The last answer stays.
        upstream.resolved(&upstream.names[0], Err(io::ErrorKind::TimedOut.into()));
        upstream.resolved(&upstream.names[0], Ok(Vec::new()));
        assert_eq!(chosen(&upstream), [at(1), at(2)]);
        assert_eq!(upstream.names().next().unwrap(), ("dns://web:80".to_owned(), 2, true));
        answers(&upstream, &[1]);
        assert_eq!(upstream.names().next().unwrap(), ("dns://web:80".to_owned(), 1, false));
        assert_eq!(chosen(&upstream), [at(1)]);
    }
}

#[tokio::test]
async fn an_address_keeps_its_place_and_one_that_is_gone_drains() {
    let upstream = upstream(Balance::RoundRobin);
    answers(&upstream, &[1, 2]);
    let [(first, _), (second, _)] = standing(&upstream)[..] else { panic!("two") };
    let all = upstream.endpoints();
    let (gone, stays) = (all[first].id(), all[second].id());
    let held = all[first].count();
    upstream.suspect(second);
    answers(&upstream, &[3, 2]);
    assert_eq!(chosen(&upstream), [at(2), at(3)]);
    assert_eq!(all[second].id(), stays);
    assert_eq!((all[first].in_flight(), all[first].resolved()), (1, None), "it goes on");
    assert!(upstream.is_gone(gone) && !upstream.is_gone(stays));
    // Neither of those who left nor of a place that nobody is at is anything believed.
    upstream.suspect(first);
    assert!(!all[first].health().is_ejected());
    drop(held);
    answers(&upstream, &[2]);
    answers(&upstream, &[1, 2]);
    let (again, _) = *standing(&upstream).iter().find(|(_, one)| *one == at(1)).unwrap();
    assert_ne!(all[again].id(), gone, "connections of before lead nowhere");
    assert_eq!(all[second].id(), stays);
}

#[tokio::test]
async fn all_addresses_may_change_at_once_and_no_more_than_there_is_room_for() {
    let upstream = upstream(Balance::LeastRequests);
    let many: Vec<usize> = (1..=40).collect();
    answers(&upstream, &many);
    assert_eq!(standing(&upstream).len(), MOST);
    let kept = standing(&upstream);
    answers(&upstream, &many.iter().rev().copied().collect::<Vec<_>>());
    assert_eq!(standing(&upstream), kept, "whoever has a place stays");
    let others: Vec<usize> = (101..=132).collect();
    answers(&upstream, &others);
    assert_eq!(standing(&upstream).len(), MOST);
    assert!(standing(&upstream).iter().all(|(_, one)| *one >= at(101)));
    answers(&upstream, &[7]);
    assert_eq!(chosen(&upstream), [at(7)]);
}

#[tokio::test]
async fn keys_and_marks_go_by_the_address_as_if_it_were_written() {
    let named = upstream(Balance::Keyed);
    answers(&named, &[9, 3]);
    answers(&named, &[3, 5, 4]);
    let mut settings = on_ports(&[], Balance::Keyed);
    settings.marks = Some(Marks::new(b"a secret"));
    settings.endpoints = [3, 4, 5]
        .map(|last| endpoint::Settings {
            address: Address::Tcp { host: format!("10.0.0.{last}"), port: 80 },
            label: format!("http://{}", at(last)),
            weight: 1,
            backup: false,
        })
        .to_vec();
    let written = Upstream::new(settings);
    let of = |upstream: &Upstream, key| match upstream.choose(&[], key) {
        Choice::Claimed(index, _slot) => {
            upstream.endpoints()[index].reach().unwrap().1.into_owned()
        }
        Choice::Full | Choice::None => panic!("no endpoint"),
    };
    for key in 0..50_u64 {
        let key = Key::Hash(key.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        assert_eq!(of(&named, key), of(&written, key));
    }
    for endpoint in written.endpoints() {
        let key = Key::Mark(endpoint.mark().unwrap());
        assert_eq!(of(&named, key), of(&written, key));
    }
    // Of one that is gone: anybody.
    let gone = written.endpoints()[0].mark().unwrap();
    answers(&named, &[4, 5]);
    assert_eq!(named.leads_to(Key::Mark(gone)), None);
}

#[tokio::test]
async fn names_are_looked_up_again_soon_while_there_is_nobody_or_somebody_refuses() {
    let upstream = upstream(Balance::RoundRobin);
    let looks = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&looks);
    let look = move |host: String, port: u16| {
        assert_eq!((host.as_str(), port), ("web", 80));
        let nth = count.fetch_add(1, Ordering::SeqCst);
        async move { if nth == 0 { Err(io::ErrorKind::TimedOut.into()) } else { Ok(vec![at(nth)]) } }
    };
    let running = tokio::spawn(run(Arc::downgrade(&upstream), 0, look));
    while standing(&upstream).is_empty() {
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(looks.load(Ordering::SeqCst), 2);
    let id = upstream.endpoints()[standing(&upstream)[0].0].id();
    upstream.failed(id, crate::telemetry::labels::UpstreamFault::Refused);
    while chosen(&upstream) != [at(2)] {
        sleep(Duration::from_millis(20)).await;
    }
    drop(upstream);
    running.abort();
}
