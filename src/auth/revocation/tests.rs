//! The list: what it holds, what it refuses, and how it is written.

use super::mark::LONGEST_LEEWAY;
use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_000);

fn sub(value: impl ToString, before: u64, until: Option<u64>) -> Revocation {
    Revocation {
        issuer: "main".to_owned(),
        kind: Kind::Sub,
        value: value.to_string(),
        before: Some(UnixTime::from_secs(before)),
        until: until.map(UnixTime::from_secs),
    }
}

fn jti(value: impl ToString, until: u64) -> Revocation {
    Revocation { kind: Kind::Jti, before: None, ..sub(value, 0, Some(until)) }
}

fn sorted(revocations: &Revocations) -> Vec<String> {
    let list = revocations.list(usize::MAX);
    let mut list: Vec<_> = list
        .iter()
        .map(|(one, source)| format!("{source:?} {}", Value::Object(one.to_json())))
        .collect();
    list.sort();
    list
}

#[test]
fn an_entry_is_widened_and_never_narrowed() {
    let list = Revocations::new();
    for one in [sub("ada", 500, Some(2_000)), sub("ada", 400, Some(3_000)), sub("ada", 1, None)] {
        list.revoke(&[one], NOW).unwrap();
    }
    assert_eq!(sorted(&list), [r#"Told {"issuer":"main","sub":"ada","before":500}"#]);
    assert_eq!(list.count(Kind::Sub), 1);
}

#[test]
fn the_file_says_all_that_it_says_and_takes_nothing_else() {
    let list = Revocations::new();
    list.revoke(&[jti("a", 2_000), jti("b", 2_000)], NOW).unwrap();
    list.replace_file(&[jti("b", 1_500), jti("c", 2_000)], NOW).unwrap();
    assert_eq!(list.count(Kind::Jti), 3);
    list.replace_file(&[sub("ada", 7, None)], NOW).unwrap();
    assert_eq!(
        sorted(&list),
        [
            r#"File {"issuer":"main","sub":"ada","before":7}"#,
            r#"Told {"issuer":"main","jti":"a","until":2000}"#,
            r#"Told {"issuer":"main","jti":"b","until":2000}"#,
        ]
    );
    assert_eq!((list.count(Kind::Jti), list.count(Kind::Sub)), (2, 1));
    // What the file says is taken back there.
    assert_eq!(list.take_back(&[sub("ada", 7, None), jti("a", 0)]), 1);
    list.replace_file(&[], NOW).unwrap();
    assert_eq!(sorted(&list), [r#"Told {"issuer":"main","jti":"b","until":2000}"#]);
}

#[test]
fn a_full_list_refuses_and_keeps_what_it_has() {
    let list = Revocations::new();
    let full: Vec<_> =
        (0..MAX_ENTRIES).map(|n| jti(n, if n < 5 { 1_001 } else { 9_000 })).collect();
    list.revoke(&full, NOW).unwrap();
    assert_eq!(list.revoke(&[jti("one more", 9_000)], NOW), Err(Full));
    assert_eq!(list.replace_file(&[jti("one more", 9_000)], NOW), Err(Full));
    // All or nothing; and what is there already needs no room.
    assert_eq!(list.revoke(&[jti(7, 9_500), jti("one more", 9_000)], NOW), Err(Full));
    list.revoke(&[jti(7, 9_500)], NOW).unwrap();
    assert_eq!(list.count(Kind::Jti), MAX_ENTRIES);
    // What is over makes room.
    let later = UnixTime::from_secs(1_001).saturating_add(LONGEST_LEEWAY);
    list.revoke(&[jti("one more", 9_000)], later).unwrap();
    assert_eq!(list.count(Kind::Jti), MAX_ENTRIES - 4);
    list.purge(UnixTime::from_secs(9_000).saturating_add(LONGEST_LEEWAY));
    assert_eq!(sorted(&list), [r#"Told {"issuer":"main","jti":"7","until":9500}"#]);
}

#[test]
fn what_was_told_is_written_as_it_is_read() {
    let list = Revocations::new();
    let odd = "quote \" and \u{2028} and \\ and é";
    list.revoke(&[sub(odd, 5, None), jti("t", 2_000)], NOW).unwrap();
    list.replace_file(&[jti("of the file", 2_000)], NOW).unwrap();
    let again = Revocations::new();
    again.revoke(&parse_lines(&list.told(), None).unwrap(), NOW).unwrap();
    list.replace_file(&[], NOW).unwrap();
    assert_eq!(sorted(&again), sorted(&list));
    assert_eq!(sorted(&again).len(), 2);
}

#[test]
fn lines_are_read_strictly() {
    let now = Some(NOW);
    let text = "\n# who left\n{\"issuer\":\"main\",\"sub\":7}\n\
                {\"issuer\":\"main\",\"kid\":\"k\",\"until\":5}\r\n";
    let list = parse_lines(text, now).unwrap();
    assert_eq!(list[0], sub("7", 1_000, None));
    assert_eq!((list[1].kind, list[1].before), (Kind::Kid, None));
    assert_eq!(list.len(), 2);
    for (line, error) in [
        (r#"{"issuer":"m","sub":"a","sub":"b"}"#, LineError::NotObject),
        (r#"["issuer"]"#, LineError::NotObject),
        ("issuer = main", LineError::NotObject),
        (r#"{"sub":"a"}"#, LineError::Issuer),
        (r#"{"issuer":1,"sub":"a"}"#, LineError::Issuer),
        (r#"{"issuer":"m"}"#, LineError::Subject),
        (r#"{"issuer":"m","sub":"a","jti":"b","until":1}"#, LineError::Subject),
        (r#"{"issuer":"m","sub":""}"#, LineError::Subject),
        (r#"{"issuer":"m","sub":["a"]}"#, LineError::Subject),
        (r#"{"issuer":"m","jti":"a"}"#, LineError::Until),
        (r#"{"issuer":"m","jti":"a","until":"1"}"#, LineError::Until),
        (r#"{"issuer":"m","jti":"a","until":1,"before":1}"#, LineError::Before),
        (r#"{"issuer":"m","sub":"a","before":"now"}"#, LineError::Before),
        (r#"{"issuer":"m","sub":"a","untill":1}"#, LineError::UnknownName),
    ] {
        let found = parse_lines(&format!("# first\n{line}"), now);
        assert_eq!(found, Err(LinesError { line: 2, error }), "{line}");
    }
    for error in [
        LineError::Before,
        LineError::Issuer,
        LineError::NotObject,
        LineError::Subject,
        LineError::TooMany,
        LineError::UnknownName,
        LineError::Until,
    ] {
        let (told, words) = (LinesError { line: 7, error }.to_string(), error.to_string());
        assert!(words.len() > 10 && told == format!("line 7: {words}"), "{told}");
    }
    // A file is read at any time: `now` would be another one each time.
    let found = parse_lines(r#"{"issuer":"m","sub":"a"}"#, None).unwrap_err();
    assert_eq!(found.error, LineError::Before);
    let long = format!("{{\"issuer\":\"m\",\"sub\":\"{}\"}}", "x".repeat(MAX_VALUE + 1));
    assert_eq!(parse_lines(&long, now).unwrap_err().error, LineError::Subject);
    let many = "{\"issuer\":\"m\",\"kid\":\"a\"}\n".repeat(MAX_ENTRIES + 1);
    assert_eq!(parse_lines(&many, now).unwrap_err().error, LineError::TooMany);
}

/// What there is without waiting: a test that waits for what never comes says nothing.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let waker = std::task::Waker::noop();
    match std::pin::pin!(future).poll(&mut std::task::Context::from_waker(waker)) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}

#[test]
fn a_write_is_told_to_whoever_waits_for_it() {
    let list = Revocations::new();
    let mut stream = list.changes();
    assert!(at_once(list.written()).is_none(), "nothing was written");
    list.revoke(&[jti("a", 2_000)], NOW).unwrap();
    assert!(at_once(list.written()).is_some());
    assert!(at_once(stream.changed()).is_none());
    list.announce();
    assert!(at_once(stream.changed()).unwrap().is_ok());
}

#[test]
fn a_file_that_is_read_again_lets_nobody_in_meanwhile() {
    let list = Revocations::new();
    let one = |value: &str| Revocation {
        issuer: "main".to_owned(),
        kind: Kind::Jti,
        value: value.to_owned(),
        before: None,
        until: None,
    };
    let file: Vec<_> = (0..2000).map(|n| one(&format!("t{n}"))).collect();
    let now = UnixTime::from_secs(1);
    list.replace_file(&file, now).unwrap();
    let is_there = || list.count(Kind::Jti) > 0 && list.knows(&file[0]);
    assert!(is_there());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (is_there, done) = (&is_there, &done);
        let asking = scope.spawn(move || {
            let mut missed = 0;
            while !done.load(Ordering::Relaxed) {
                missed += usize::from(!is_there());
            }
            missed
        });
        for _ in 0..50 {
            list.replace_file(&file, now).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(asking.join().unwrap(), 0);
    });
}

#[test]
fn a_file_fits_beside_what_was_told_and_not_beside_its_last_self() {
    let list = Revocations::new();
    let one = |value: String| Revocation {
        issuer: "main".to_owned(),
        kind: Kind::Jti,
        value,
        before: None,
        until: None,
    };
    let file = |name: char, entries| -> Vec<_> {
        (0..entries).map(|n| one(format!("{name}{n}"))).collect()
    };
    let now = UnixTime::from_secs(1);
    list.revoke(&[one("told".to_owned()), one("a0".to_owned())], now).unwrap();
    list.replace_file(&file('a', MAX_ENTRIES - 1), now).unwrap();
    list.replace_file(&file('b', MAX_ENTRIES - 2), now).unwrap();
    assert_eq!(list.count(Kind::Jti), MAX_ENTRIES);
    assert_eq!(list.replace_file(&file('c', MAX_ENTRIES - 1), now), Err(Full));
    assert!(list.knows(&one("b1".to_owned())) && list.knows(&one("a0".to_owned())));
    list.replace_file(&[], now).unwrap();
    assert_eq!(list.count(Kind::Jti), 2);
}

#[test]
fn a_write_copies_a_small_part_of_the_list() {
    let list = Revocations::new();
    let all: Vec<_> = (0..6_400).map(|n| jti(n, 9_000)).collect();
    list.revoke(&all, NOW).unwrap();
    let largest = list.shards.iter().map(|shard| shard.load().len()).max().unwrap();
    assert!(largest < 400, "{largest} of 6400 in one of 64 shards");
    assert!(Full.to_string().contains("100000 entries"));
}

#[test]
fn what_was_told_is_kept_once_that_version_is_saved() {
    let list = Revocations::new();
    assert_eq!(list.version(), 0);
    assert_eq!(at_once(list.kept()), Some(false), "nothing was told, and nothing is on disk");
    list.revoke(&[jti("a", 2_000)], NOW).unwrap();
    list.take_back(&[jti("b", 2_000)]);
    list.replace_file(&[], NOW).unwrap();
    assert_eq!(list.version(), 3);
    for (saved, is_kept) in [(3, true), (3, false), (4, true)] {
        let mut waiting = std::pin::pin!(list.kept());
        if saved == 3 && is_kept {
            list.saved(2, true);
            assert!(at_once(waiting.as_mut()).is_none(), "the one before says nothing");
        }
        list.saved(saved, is_kept);
        assert_eq!(at_once(waiting), Some(is_kept), "{saved}");
    }
}

#[test]
fn entries_are_told_apart_by_kind_and_issuer() {
    let list = Revocations::new();
    let (here, kid) = (jti("x", 2_000), Revocation { kind: Kind::Kid, ..jti("x", 2_000) });
    let elsewhere = Revocation { issuer: "other".to_owned(), ..jti("x", 2_000) };
    list.revoke(&[here.clone(), kid.clone(), elsewhere.clone()], NOW).unwrap();
    assert_eq!((list.count(Kind::Jti), list.count(Kind::Kid)), (2, 1));
    assert_eq!(list.take_back(&[elsewhere]), 1);
    assert_eq!((list.count(Kind::Jti), list.count(Kind::Kid)), (1, 1));
    assert_eq!(list.take_back(&[here]), 1);
    assert_eq!(list.list(9), [(kid, Source::Told)]);
}

#[test]
fn what_is_over_is_forgotten_and_nothing_else() {
    let list = Revocations::new();
    // One value, so that all of them stand in one shard.
    let at = |issuer: &str, until| Revocation { issuer: issuer.to_owned(), ..jti("v", until) };
    let told = [at("both over", 1_500), at("told lasts", 1_501), at("told over", 1_500)];
    list.revoke(&told, NOW).unwrap();
    list.revoke(&[Revocation { issuer: "endless".to_owned(), ..sub("v", 7, None) }], NOW).unwrap();
    let file = [at("both over", 1_500), at("told lasts", 1_500), at("told over", 1_501)];
    list.replace_file(&file, NOW).unwrap();
    assert_eq!((list.count(Kind::Jti), list.count(Kind::Sub)), (3, 1));
    let past = |until| UnixTime::from_secs(until).saturating_add(LONGEST_LEEWAY);
    list.purge(UnixTime::from_millis(past(1_500).as_millis() - 1));
    assert_eq!(list.count(Kind::Jti), 3, "a token may count for the leeway after its end");
    list.purge(past(1_500));
    let kept = [
        r#"File {"issuer":"told over","jti":"v","until":1501}"#,
        r#"Told {"issuer":"endless","sub":"v","before":7}"#,
        r#"Told {"issuer":"told lasts","jti":"v","until":1501}"#,
    ];
    assert_eq!(sorted(&list), kept);
    assert_eq!((list.count(Kind::Jti), list.count(Kind::Sub)), (2, 1));
    list.purge(past(1_501));
    assert_eq!(sorted(&list), kept[1..2]);
}
