//! The word that a listener is closing, carried to each of its connections.
//!
//! Connections learn of it without asking again at every turn: a `watch` takes a lock shared by
//! all workers whenever it is polled, so [`Notice`] polls it only when it was woken.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::watch;

/// Starts a drain, once.
#[derive(Debug)]
pub(super) struct DrainTrigger(watch::Sender<bool>);

impl DrainTrigger {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(super) fn start(&self) {
        self.0.send_replace(true);
    }

    pub(super) fn drain(&self) -> Drain {
        Drain(self.0.subscribe())
    }
}

/// The receiving end of a [`DrainTrigger`].
#[derive(Clone, Debug)]
pub(super) struct Drain(watch::Receiver<bool>);

impl Drain {
    /// Whether the drain has started. Takes a lock: not for every request.
    pub(super) fn is_started(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when the drain has started. A trigger that is gone counts as one that was pulled.
    pub(super) async fn started(mut self) {
        let _gone = self.0.wait_for(|started| *started).await.is_err();
    }
}

/// A future that says something once and is polled only when it has been woken.
pub(super) struct Notice<'a> {
    future: Pin<&'a mut (dyn Future<Output = ()> + Send)>,
    waker: Option<(Arc<Woken>, Waker)>,
    over: bool,
}

impl<'a> Notice<'a> {
    pub(super) fn new(future: Pin<&'a mut (dyn Future<Output = ()> + Send)>) -> Self {
        Self { future, waker: None, over: false }
    }

    /// Whether the future is over; if not, the task is woken when it is.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> bool {
        if self.over {
            return true;
        }
        let known = self.waker.take().filter(|(woken, _)| woken.task.will_wake(context.waker()));
        if let Some((woken, _)) = &known
            && !woken.flag.swap(false, Ordering::AcqRel)
        {
            self.waker = known;
            return false;
        }
        let (woken, waker) = known.unwrap_or_else(|| {
            let task = context.waker().clone();
            let woken = Arc::new(Woken { flag: AtomicBool::new(false), task });
            let waker = Waker::from(Arc::clone(&woken));
            (woken, waker)
        });
        self.over = self.future.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Ready(());
        self.waker = Some((woken, waker));
        self.over
    }
}

struct Woken {
    flag: AtomicBool,
    task: Waker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.flag.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_notice_wakes_its_task() {
        let trigger = DrainTrigger::new();
        let drain = trigger.drain();
        let waiting = tokio::spawn(async move {
            let started = pin!(drain.started());
            let mut notice = Notice::new(started);
            let mut polls = 0;
            poll_fn(|context| {
                polls += 1;
                if notice.poll(context) { Poll::Ready(polls) } else { Poll::Pending }
            })
            .await
        });
        tokio::task::yield_now().await;
        trigger.start();
        assert_eq!(waiting.await.unwrap(), 2);
    }

    #[tokio::test]
    async fn it_is_not_polled_unless_woken() {
        let mut polled = 0;
        let mut future = pin!(poll_fn(|_| {
            polled += 1;
            Poll::<()>::Pending
        }));
        let mut notice = Notice::new(future.as_mut());
        poll_fn(|context| {
            for _ in 0..5 {
                assert!(!notice.poll(context));
            }
            Poll::Ready(())
        })
        .await;
        assert_eq!(polled, 1);
    }
}
