//! The matrix: kinds of route, methods, spellings of paths and hosts, credentials, headers of
//! intruders, over HTTP/1.1 and HTTP/2, so that every two of them meet.
//!
//! What must become of each request is written down here by hand, from the contract; the verdict
//! is read from the response, from the access log's line of the same request id, from the metrics
//! and from what applications received.

mod forge;
mod judge;
mod pairs;
mod readings;
mod request;
mod run;
mod site;
mod spellings;
mod tokens;

use std::collections::{BTreeMap, HashSet};

use forge::{Forge, Kind, Lines};
use judge::{Case, Evidence};
use pairs::{Plan, Row};
use request::{
    CARRIER, CARRIERS, DIMENSIONS, HOST, HOSTILE, HOSTILES, HOSTS, METHOD, METHODS, Outcome,
    Request, SPELLING, TARGET, TOKEN, kind_at,
};
use site::{Site, TARGETS};
use spellings::SPELLINGS;
use tokens::{Defect, Verdict, defects};

#[test]
fn nothing_protected_is_reached_but_by_a_good_token() {
    let defects = defects();
    assert!(TARGETS.len() >= 8 && METHODS.len() >= 9);
    assert!(SPELLINGS.len() >= 60 && defects.len() >= 60);
    let site = Site::start();
    let credentials = Credentials::make(&defects, &site);
    let (rows, pairs) = rows(&defects);
    let requests: Vec<Request<'_>> =
        rows.iter().map(|row| credentials.request(&defects, *row)).collect();

    let responses = run::send_all(&site, &requests);
    let metrics = site.gateway.admin("/metrics").expect(200).text().to_owned();
    let evidence = Evidence::gather(site);

    let mut wrong = Vec::new();
    let mut refused: BTreeMap<&str, usize> = BTreeMap::new();
    for (mark, request) in requests.iter().enumerate() {
        let (outcome, response) = (request.outcome(), &responses[mark]);
        match outcome {
            Outcome::Misfit => *refused.entry("bad_request").or_default() += 1,
            Outcome::Refused { reason, .. } => *refused.entry(reason).or_default() += 1,
            Outcome::Arrives { .. } | Outcome::Empty { .. } | Outcome::File { .. } => {}
        }
        let case = Case { mark, request, outcome, response, evidence: &evidence };
        wrong.extend(case.judge().err());
    }
    println!(
        "{} requests, {pairs} pairs; {} arrived, refused: {refused:?}",
        requests.len(),
        evidence.arrived(),
    );
    let first = wrong.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {} went wrong:\n{first}", wrong.len(), requests.len());

    let misfits = requests.iter().filter(|request| request.outcome() == Outcome::Misfit).count();
    assert_eq!((evidence.lines, evidence.misfits), (requests.len(), misfits));
    assert_eq!(counted(&metrics), refused.iter().map(|(r, n)| ((*r).to_owned(), *n)).collect());
}

/// `rejects_total` by reason.
fn counted(metrics: &str) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for line in metrics.lines().filter(|line| line.starts_with("portcullis_rejects_total{")) {
        let reason = line.split("reason=\"").nth(1).unwrap().split('"').next().unwrap();
        let count: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
        *counted.entry(reason.to_owned()).or_default() += count;
    }
    counted.retain(|_, count| *count > 0);
    counted
}

/// Every credential, made once for each kind of issuer.
struct Credentials([Vec<Lines>; 3]);

impl Credentials {
    fn make(defects: &[Defect], site: &Site) -> Self {
        Self(Kind::ALL.map(|kind| {
            let forge = Forge { kind, issuers: &site.issuers };
            defects.iter().map(|defect| defect.lines(&forge)).collect()
        }))
    }

    fn request<'a>(&'a self, defects: &'a [Defect], row: Row<DIMENSIONS>) -> Request<'a> {
        let kind = kind_at(&TARGETS[row[TARGET]]);
        Request::new(row, &defects[row[TOKEN]], &self.0[kind as usize][row[TOKEN]])
    }
}

/// Rows that hold all pairs, then those that show each reason by itself, then the same requests
/// with a good token; and how many pairs that are.
fn rows(defects: &[Defect]) -> (Vec<Row<DIMENSIONS>>, usize) {
    let mut sizes = [0; DIMENSIONS];
    for (dimension, size) in [
        (SPELLING, SPELLINGS.len()),
        (TOKEN, defects.len()),
        (TARGET, TARGETS.len()),
        (HOSTILE, HOSTILES.len()),
        (METHOD, METHODS.len()),
        (HOST, HOSTS.len()),
        (CARRIER, CARRIERS.len()),
    ] {
        sizes[dimension] = size;
    }
    let fits = |one, other| request::allowed(defects, one, other);
    let (mut rows, pairs) = Plan { sizes, allowed: &fits, filler }.rows(0x706f_7274);
    rows.extend(plain_rows(defects));
    let nothing = Lines::new();
    let controls: Vec<Row<DIMENSIONS>> = rows
        .iter()
        .filter(|row| {
            let request = Request::new(**row, &defects[row[TOKEN]], &nothing);
            matches!(request.outcome(), Outcome::Refused { by_token: true, .. })
        })
        .map(|row| with(*row, TOKEN, 0))
        .collect();
    rows.extend(controls);
    let mut seen = HashSet::new();
    rows.retain(|row| seen.insert(*row));
    (rows, pairs)
}

/// Each value of a dimension beside each target, with nothing else that could refuse the request.
fn plain_rows(defects: &[Defect]) -> Vec<Row<DIMENSIONS>> {
    let mut rows = Vec::new();
    for (target, aimed) in TARGETS.iter().enumerate() {
        // Where the route aimed at is: its listener, and a method that it takes.
        let mut plain = with([0; DIMENSIONS], TARGET, target);
        plain[CARRIER] = if aimed.route == "listener" { 2 } else { target % 2 };
        let suited = (0..defects.len())
            .filter(|&token| defects[token].verdict(kind_at(aimed)) != Verdict::Unfit);
        rows.extend(suited.map(|token| with(plain, TOKEN, token)));
        let mut http1 = plain;
        http1[CARRIER] = 2;
        for (dimension, size) in [
            (SPELLING, SPELLINGS.len()),
            (METHOD, METHODS.len()),
            (HOSTILE, HOSTILES.len()),
            (HOST, HOSTS.len()),
        ] {
            rows.extend((0..size).map(|value| with(http1, dimension, value)));
        }
    }
    rows
}

fn with(mut row: Row<DIMENSIONS>, dimension: usize, value: usize) -> Row<DIMENSIONS> {
    row[dimension] = value;
    row
}

/// Mostly what lets the rest of the request be judged: GET or POST, to the host itself.
fn filler(dimension: usize, random: u64) -> usize {
    let random = usize::try_from(random >> 32).unwrap();
    match dimension {
        TARGET => random % TARGETS.len(),
        HOSTILE => random % HOSTILES.len(),
        METHOD => random % 3 % 2,
        // The last is the one without TLS, whose requests cost a third.
        CARRIER => (random % (2 * CARRIERS.len())).min(CARRIERS.len() - 1),
        _ => 0,
    }
}
