//! Many shoppers on one thread: a small executor, because threads would be the benchmark.
//!
//! A replay has a thousand ops under way at once, each waiting for a replica's sync. A thread per
//! shopper would spend two cores on switching; a runtime would bring a timer, a reactor and a
//! thread pool to a program that waits for one kind of thing. What is needed is this: a table of
//! futures, and a list of those that were woken, to which the replicas' threads append.
//!
//! Laws: a future is polled only when it was woken (or is new); a wake-up is never lost, for the
//! list is looked at again after it was found empty and before the thread is parked (parking keeps
//! a wake-up that comes first); a wake-up of a future that has ended is harmless.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// The places that were woken, and whom to tell.
struct Ready {
    places: Mutex<Vec<usize>>,
    thread: Thread,
}

struct Place {
    at: usize,
    ready: Arc<Ready>,
}

impl Wake for Place {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut places = self.ready.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.push(self.at);
        let first = places.len() == 1;
        drop(places);
        if first {
            self.ready.thread.unpark();
        }
    }
}

/// A table of futures that one thread drives.
pub struct Tasks<'a> {
    places: Vec<(Option<Task<'a>>, Waker)>,
    free: Vec<usize>,
    ready: Arc<Ready>,
    woken: Vec<usize>,
}

impl<'a> Tasks<'a> {
    /// An empty table, to be driven by this thread.
    pub fn new() -> Self {
        let ready = Ready { places: Mutex::default(), thread: std::thread::current() };
        Self { places: Vec::new(), free: Vec::new(), ready: Arc::new(ready), woken: Vec::new() }
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Begins one: it runs at once, as far as it gets.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + 'a) {
        let at = self.free.pop().unwrap_or_else(|| {
            let at = self.places.len();
            let place = Place { at, ready: self.ready.clone() };
            self.places.push((None, Waker::from(Arc::new(place))));
            at
        });
        self.places[at].0 = Some(Box::pin(task));
        self.poll(at);
    }

    /// Polls what was woken; waits for something to be, at most `timeout`.
    pub fn turn(&mut self, timeout: Duration) {
        debug_assert_eq!(std::thread::current().id(), self.ready.thread.id());
        let mut woken = std::mem::take(&mut self.woken);
        for wait in [true, false] {
            std::mem::swap(
                &mut woken,
                &mut *self.ready.places.lock().unwrap_or_else(PoisonError::into_inner),
            );
            if !woken.is_empty() {
                break;
            }
            if wait {
                std::thread::park_timeout(timeout);
            }
        }
        for at in woken.drain(..) {
            self.poll(at);
        }
        self.woken = woken;
    }

    fn poll(&mut self, at: usize) {
        let (place, waker) = &mut self.places[at];
        let Some(task) = place else { return };
        if task.as_mut().poll(&mut Context::from_waker(waker)) == Poll::Ready(()) {
            *place = None;
            self.free.push(at);
        }
    }
}

/// Lets the others run once: for "try again soon".
pub async fn step_aside() {
    let stepped = Cell::new(false);
    std::future::poll_fn(|context| {
        if stepped.replace(true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn futures_woken_by_other_threads_all_end() {
        let done = Cell::new(0);
        let mut tasks = Tasks::new();
        let mut answers = Vec::new();
        for n in 0..100_u32 {
            let (answer, receive) = answer_later();
            answers.push(answer);
            let done = &done;
            tasks.spawn(async move {
                step_aside().await;
                receive.await;
                done.set(done.get() + n);
            });
        }
        let other = std::thread::spawn(move || answers.into_iter().rev().for_each(Answer::give));
        while !tasks.is_empty() {
            tasks.turn(Duration::from_secs(60));
        }
        other.join().unwrap();
        assert_eq!(done.get(), 4_950);
        tasks.spawn(async {});
        assert!(tasks.is_empty(), "one that has nothing to wait for ends at once");
        tasks.turn(Duration::ZERO);
    }

    #[derive(Default)]
    struct Shared {
        given: bool,
        waker: Option<Waker>,
    }

    struct Answer(Arc<Mutex<Shared>>);

    impl Answer {
        fn give(self) {
            let mut shared = self.0.lock().unwrap();
            shared.given = true;
            if let Some(waker) = shared.waker.take() {
                waker.wake();
            }
        }
    }

    fn answer_later() -> (Answer, impl Future<Output = ()>) {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let receive = shared.clone();
        let future = std::future::poll_fn(move |context| {
            let mut shared = receive.lock().unwrap();
            shared.waker = Some(context.waker().clone());
            if shared.given { Poll::Ready(()) } else { Poll::Pending }
        });
        (Answer(shared), future)
    }
}
