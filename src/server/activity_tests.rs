//! Which deadline follows from what.

use std::future::poll_fn;
use std::task::Poll;

use super::*;

const LIMITS: Limits = Limits {
    header: Duration::from_secs(10),
    idle: Duration::from_secs(75),
    write: Duration::from_secs(30),
};

fn due(activity: &Activity) -> Option<(u64, Due)> {
    let due = activity.http1_due(&LIMITS);
    due.map(|(at, due)| (at.duration_since(activity.epoch).as_secs(), due))
}

/// Lets time pass: what was recorded lies further back.
fn after(activity: &mut Arc<Activity>, secs: u64) {
    Arc::get_mut(activity).unwrap().epoch -= Duration::from_secs(secs);
}

#[test]
fn deadlines_follow_what_happens() {
    let mut activity = Activity::new();
    assert_eq!(due(&activity), Some((75, Due::Idle)), "before hyper has read");
    activity.read(ReadOutcome::Pending);
    assert_eq!(due(&activity), Some((1, Due::Rest)));
    after(&mut activity, 5);
    activity.read(ReadOutcome::Bytes(1));
    assert_eq!(due(&activity), Some((15, Due::Head)));
    after(&mut activity, 5);
    activity.read(ReadOutcome::Bytes(1));
    activity.read(ReadOutcome::Pending);
    assert_eq!(due(&activity), Some((15, Due::Head)), "from the first byte, not the last");
    activity.begin(false);
    assert_eq!(due(&activity), None);
    activity.wrote(false);
    assert_eq!(due(&activity), Some((40, Due::Write)));
    after(&mut activity, 5);
    activity.wrote(false);
    assert_eq!(due(&activity), Some((40, Due::Write)));
    activity.wrote(true);
    activity.end(true);
    assert_eq!(due(&activity), Some((16, Due::Rest)));
    activity.flushed(false);
    assert_eq!(due(&activity), Some((90, Due::Idle)));
}

#[test]
fn a_connection_with_a_half_read_body_never_rests() {
    let activity = Activity::new();
    let number = activity.begin(true);
    activity.end(true);
    activity.read(ReadOutcome::Bytes(9));
    activity.read(ReadOutcome::Pending);
    assert_eq!(due(&activity), Some((75, Due::Idle)), "bytes of a body are no head");
    activity.body_ended(number + 1);
    assert_eq!(due(&activity), Some((75, Due::Idle)), "somebody else's body");
    activity.body_ended(number);
    assert_eq!(due(&activity), Some((1, Due::Rest)));
}

#[test]
fn draining_shortens_what_is_idle_only() {
    let mut activity = Activity::new();
    activity.read(ReadOutcome::Pending);
    after(&mut activity, 9);
    activity.drain();
    assert_eq!(due(&activity), Some((9, Due::Rest)));
    let closed = activity.idle_deadline(&LIMITS).duration_since(activity.epoch);
    assert_eq!(closed.as_secs(), 10);
    activity.read(ReadOutcome::Bytes(1));
    assert_eq!(due(&activity), Some((19, Due::Head)));
}

#[test]
fn http2_is_idle_without_streams() {
    let activity = Activity::new();
    let due = |parked| activity.http2_due(&LIMITS, parked).map(|(_, due)| due);
    activity.read(ReadOutcome::Bytes(23));
    assert_eq!(due(false), Some(Due::Head));
    activity.read(ReadOutcome::Bytes(1));
    assert_eq!(due(false), Some(Due::Rest));
    assert_eq!(due(true), Some(Due::Idle));
    activity.begin(true);
    assert_eq!(due(true), None);
}

#[test]
fn resets_count_only_where_they_are_the_rule() {
    let activity = Activity::new();
    for _ in 0..RESETS {
        activity.begin(false);
        activity.end(false);
    }
    assert!(!activity.resets_too_often());
    activity.begin(false);
    activity.end(false);
    assert!(activity.resets_too_often());
    for _ in 0..=RESETS {
        activity.begin(false);
        activity.end(true);
    }
    assert!(!activity.resets_too_often());
}

#[tokio::test]
async fn one_alarm_serves_moving_deadlines() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut alarm = Alarm::default();
    let mut deadline = at(75_000);
    poll_fn(|context| {
        assert!(!alarm.poll(context, deadline));
        deadline = at(50);
        assert!(!alarm.poll(context, deadline));
        deadline = at(100);
        assert!(!alarm.poll(context, deadline));
        Poll::Ready(())
    })
    .await;
    let mut polls = 0;
    poll_fn(|context| {
        polls += 1;
        if alarm.poll(context, deadline) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    assert!(start.elapsed() >= Duration::from_millis(100));
    assert!(polls >= 2);
}
