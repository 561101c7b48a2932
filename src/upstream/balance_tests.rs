use super::super::endpoint::tests::{unix, weighted};
use super::super::health::Eject;
use super::super::sticky::Marks;
use super::*;

fn endpoints(count: usize) -> Vec<Arc<Endpoint>> {
    (0..count).map(|index| Arc::new(unix(&format!("{index}")))).collect()
}

fn balancer(balance: Balance, endpoints: &[Arc<Endpoint>]) -> Balancer {
    limited(balance, endpoints, usize::MAX)
}

fn limited(balance: Balance, endpoints: &[Arc<Endpoint>], max_requests: usize) -> Balancer {
    let round_robin = balance == Balance::RoundRobin;
    let (slow_start, times) = (Duration::ZERO, Times::start());
    Balancer::new(Rules { round_robin, moving: false, slow_start, max_requests, times }, endpoints)
}

/// The index alone: the slot is given back.
fn pick(balancer: &Balancer, endpoints: &[Arc<Endpoint>], tried: &[usize]) -> Option<usize> {
    match balancer.choose(endpoints, tried, Key::None) {
        Choice::Claimed(index, _slot) => Some(index),
        Choice::Full | Choice::None => None,
    }
}

fn keyed(balancer: &Balancer, endpoints: &[Arc<Endpoint>], key: u64) -> usize {
    match balancer.choose(endpoints, &[], Key::Hash(mix(key))) {
        Choice::Claimed(index, _slot) => index,
        other => panic!("{other:?}"),
    }
}

fn down(endpoint: &Endpoint) {
    endpoint.health().eject(&Eject { after: 1, time: Duration::from_secs(60) }, 1);
}

#[tokio::test]
async fn round_robin_gives_each_endpoint_its_share() {
    let alike = endpoints(3);
    let balancer_of = balancer(Balance::RoundRobin, &alike);
    let mut counts = [0; 3];
    for _ in 0..300 {
        counts[pick(&balancer_of, &alike, &[]).unwrap()] += 1;
    }
    assert_eq!(counts, [100; 3]);
    let unlike = [("a", 3), ("b", 1), ("c", 2)]
        .map(|(label, weight)| Arc::new(weighted(label, weight, false)));
    let balancer_of = balancer(Balance::RoundRobin, &unlike);
    let mut counts = [0; 3];
    for _ in 0..600 {
        counts[pick(&balancer_of, &unlike, &[]).unwrap()] += 1;
    }
    assert_eq!(counts, [300, 100, 200]);
}

#[tokio::test]
async fn least_requests_avoids_the_busy_endpoint() {
    let endpoints = endpoints(2);
    let balancer = balancer(Balance::LeastRequests, &endpoints);
    let _busy = endpoints[0].count();
    for _ in 0..100 {
        assert_eq!(pick(&balancer, &endpoints, &[]), Some(1));
    }
}

#[tokio::test]
async fn least_requests_keeps_endpoints_level() {
    let endpoints = endpoints(4);
    let balancer = balancer(Balance::LeastRequests, &endpoints);
    let mut held = Vec::new();
    for _ in 0..400 {
        match balancer.choose(&endpoints, &[], Key::None) {
            Choice::Claimed(_, slot) => held.push(slot),
            other => panic!("{other:?}"),
        }
    }
    for endpoint in &endpoints {
        assert!((85..=115).contains(&endpoint.in_flight()), "{}", endpoint.in_flight());
    }
    drop(held);
    assert!(endpoints.iter().all(|endpoint| endpoint.in_flight() == 0));
}

#[tokio::test]
async fn idle_endpoints_share_by_weight() {
    let unlike = [("a", 1), ("b", 1), ("c", 4)]
        .map(|(label, weight)| Arc::new(weighted(label, weight, false)));
    let balancer = balancer(Balance::LeastRequests, &unlike);
    let mut counts = [0; 3];
    for _ in 0..6000 {
        counts[pick(&balancer, &unlike, &[]).unwrap()] += 1;
    }
    assert!((800..1200).contains(&counts[0]), "{counts:?}");
    assert!((3600..4400).contains(&counts[2]), "{counts:?}");
}

#[tokio::test]
async fn tried_endpoints_are_not_picked_again() {
    for balance in [Balance::LeastRequests, Balance::RoundRobin, Balance::Keyed] {
        let endpoints = endpoints(3);
        let balancer = balancer(balance, &endpoints);
        for _ in 0..50 {
            let first = pick(&balancer, &endpoints, &[]).unwrap();
            let second = pick(&balancer, &endpoints, &[first]).unwrap();
            let third = pick(&balancer, &endpoints, &[first, second]).unwrap();
            let mut all = [first, second, third];
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2]);
            assert_eq!(pick(&balancer, &endpoints, &all), None);
        }
    }
}

#[tokio::test]
async fn a_full_endpoint_is_passed_over_and_all_full_is_said() {
    for balance in [Balance::LeastRequests, Balance::RoundRobin] {
        let endpoints = endpoints(3);
        let balancer = limited(balance, &endpoints, 2);
        let mut held = Vec::new();
        for _ in 0..6 {
            match balancer.choose(&endpoints, &[], Key::None) {
                Choice::Claimed(_, slot) => held.push(slot),
                other => panic!("{other:?} after {}", held.len()),
            }
        }
        assert!(matches!(balancer.choose(&endpoints, &[], Key::None), Choice::Full));
        assert!(matches!(balancer.choose(&endpoints, &[0, 1], Key::None), Choice::Full));
        held.pop();
        assert!(matches!(balancer.choose(&endpoints, &[], Key::None), Choice::Claimed(..)));
    }
}

#[tokio::test]
async fn what_is_down_gets_nothing_and_backups_only_when_all_others_are() {
    for balance in [Balance::LeastRequests, Balance::RoundRobin] {
        let endpoints = [("a", false), ("b", false), ("spare", true)]
            .map(|(label, backup)| Arc::new(weighted(label, 1, backup)));
        let balancer = limited(balance, &endpoints, 1);
        down(&endpoints[0]);
        for _ in 0..20 {
            assert_eq!(pick(&balancer, &endpoints, &[]), Some(1));
        }
        // Full is not down.
        let held = endpoints[1].count();
        assert!(matches!(balancer.choose(&endpoints, &[], Key::None), Choice::Full));
        drop(held);
        down(&endpoints[1]);
        assert_eq!(pick(&balancer, &endpoints, &[]), Some(2));
        down(&endpoints[2]);
        assert!(matches!(balancer.choose(&endpoints, &[], Key::None), Choice::None));
    }
}

#[tokio::test]
async fn a_key_meets_its_endpoint_and_moves_only_with_it() {
    let all = endpoints(5);
    let with_all = balancer(Balance::Keyed, &all);
    let before: Vec<_> = (0..2000).map(|key| keyed(&with_all, &all, key)).collect();
    assert_eq!(before, (0..2000).map(|key| keyed(&with_all, &all, key)).collect::<Vec<_>>());
    for index in 0..5 {
        let count = before.iter().filter(|&&met| met == index).count();
        assert!((300..500).contains(&count), "{index}: {count}");
    }
    down(&all[2]);
    for (key, met) in before.iter().enumerate() {
        let now = keyed(&with_all, &all, key as u64);
        assert!(if *met == 2 { now != 2 } else { now == *met });
    }
}

#[tokio::test]
async fn keys_go_by_weight() {
    let endpoints = [Arc::new(weighted("a", 1, false)), Arc::new(weighted("b", 3, false))];
    let balancer = balancer(Balance::Keyed, &endpoints);
    let heavy = (0..4000).filter(|&key| keyed(&balancer, &endpoints, key) == 1).count();
    assert!((2800..3200).contains(&heavy), "{heavy}");
}

#[tokio::test]
async fn no_endpoints_no_choice() {
    let balancer = balancer(Balance::LeastRequests, &[]);
    assert!(matches!(balancer.choose(&[], &[], Key::None), Choice::None));
}

#[tokio::test]
async fn a_mark_leads_back_while_its_endpoint_is_up_and_has_a_slot() {
    let marks = Marks::new(b"a secret");
    let marked_as = |label: &str, backup| {
        Arc::new(super::super::endpoint::tests::called(label, 1, backup, Some(&marks)))
    };
    let all = [marked_as("a", false), marked_as("b", false), marked_as("c", true)];
    let balancer = limited(Balance::Sticky, &all, 1);
    let [a, b, c] = ["a", "b", "c"].map(|label| Key::Mark(marks.mark(label)));
    let index = |choice| match choice {
        Choice::Claimed(index, slot) => Some((index, slot)),
        Choice::Full | Choice::None => None,
    };
    for _ in 0..20 {
        assert_eq!(index(balancer.choose(&all, &[], b)).unwrap().0, 1);
        assert_ne!(index(balancer.choose(&all, &[], c)).unwrap().0, 2, "a backup rests");
        assert_eq!(index(balancer.choose(&all, &[1], b)).unwrap().0, 0, "tried already");
    }
    // Full: another serves.
    let (_, held) = index(balancer.choose(&all, &[], b)).unwrap();
    assert_eq!(index(balancer.choose(&all, &[], b)).unwrap().0, 0);
    let of = |mark: &str| marked(&all, marks.mark(mark));
    assert_eq!((of("b"), of("c"), of("d")), (Some(1), None, None));
    drop(held);
    down(&all[1]);
    assert_eq!(of("b"), None);
    assert_eq!(index(balancer.choose(&all, &[], b)).unwrap().0, 0);
    down(&all[0]);
    assert_eq!(of("c"), Some(2));
    assert_eq!(index(balancer.choose(&all, &[], a)).unwrap().0, 2);
}
