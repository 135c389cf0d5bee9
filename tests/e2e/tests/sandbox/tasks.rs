//! Tasks beside each other and one after another.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use baton_host::sandbox::{Connector as _, Observer};
use e2e::guests::{self, Probe, warnings};
use e2e::ways_out::{Gate, Through, ok};
use tokio::sync::{mpsc, oneshot};

use crate::soon;

/// Passes on that a guest has said something.
struct Hears(mpsc::UnboundedSender<()>);

impl Observer for Hears {
    fn progress(&self, _done: u64, _total: Option<u64>, _what: &str) {
        let _ = self.0.send(());
    }
}

#[tokio::test]
async fn nothing_of_one_task_is_in_the_next() {
    let mut first = Probe::behaves("count").open().await;
    for expected in ["1", "2", "3"] {
        let page = first.list_objects("thing", None, None).await.unwrap();
        assert_eq!(warnings(&page), [expected]);
    }
    let second = Probe::behaves("count").warnings().await;
    assert_eq!(second, ["1"]);
    drop(first);
    let third = Probe::behaves("count").warnings().await;
    assert_eq!(third, ["1"]);
}

/// Sockets and timers once shared the threads that guests spin on.
#[tokio::test]
async fn guests_that_spin_on_every_thread_stall_nobody() {
    let threads = std::thread::available_parallelism().unwrap().get();
    let sandbox = guests::sandbox(u32::try_from(threads).unwrap() * 2 + 1);
    let probe = guests::load(&sandbox, "probe").await;

    // A request of an honest task has begun…
    let (begun, has_begun) = oneshot::channel();
    let begun = std::sync::Mutex::new(Some(begun));
    let (answer, may_answer) = oneshot::channel::<()>();
    let may_answer = std::sync::Mutex::new(Some(may_answer));
    let (thread, on_thread) = oneshot::channel();
    let thread = Arc::new(std::sync::Mutex::new(Some(thread)));
    let mut honest = Probe::behaves("sequence:1")
        .through(Through(move |_| {
            let begun = begun.lock().unwrap().take().unwrap();
            let may_answer = may_answer.lock().unwrap().take().unwrap();
            let thread = thread.lock().unwrap().take().unwrap();
            async move {
                begun.send(()).unwrap();
                may_answer.await.unwrap();
                let name = std::thread::current().name().map(str::to_owned);
                thread.send(name).unwrap();
                ok("in time")
            }
        }))
        .open_in(&sandbox, &probe)
        .await;
    let honest = tokio::spawn(async move { honest.list_objects("thing", None, None).await });
    soon(has_begun).await.unwrap();

    // …when twice as many guests as threads begin to spin.
    let (hears, mut heard) = mpsc::unbounded_channel();
    let mut spinning = tokio::task::JoinSet::new();
    for _ in 0..2 * threads {
        let mut task = Probe::behaves("spin")
            .heard_by(Hears(hears.clone()))
            .open_in(&sandbox, &probe)
            .await;
        spinning.spawn(async move { task.list_objects("thing", None, None).await });
    }
    for _ in 0..2 * threads {
        soon(heard.recv()).await.unwrap();
    }

    answer.send(()).unwrap();
    let page = soon(honest).await.unwrap().unwrap();
    assert_eq!(warnings(&page), ["1 status 200 in time"]);
    assert_ne!(soon(on_thread).await.unwrap().as_deref(), Some("guest"));
    // They spin still: it did not wait for them.
    assert!(spinning.try_join_next().is_none());
    spinning.abort_all();
    while spinning.join_next().await.is_some() {}

    // And their slots are free again.
    for _ in 0..2 * threads + 1 {
        soon(Probe::behaves("").open_in(&sandbox, &probe)).await;
    }
}

#[tokio::test]
async fn a_task_without_a_slot_waits_for_one() {
    let sandbox = guests::sandbox(1);
    let probe = guests::load(&sandbox, "probe").await;
    let first = Probe::behaves("").open_in(&sandbox, &probe).await;
    let second = Probe::behaves("").open_in(&sandbox, &probe);
    tokio::pin!(second);
    poll_fn(|context| {
        assert!(second.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    drop(first);
    soon(second).await;
}

#[tokio::test]
async fn a_slot_is_free_when_its_store_is_gone() {
    let sandbox = guests::sandbox(2);
    let probe = guests::load(&sandbox, "probe").await;
    let mut crowd = tokio::task::JoinSet::new();
    for i in 0..8 {
        let (sandbox, probe) = (sandbox.clone(), probe.clone());
        crowd.spawn(async move {
            for _ in 0..50 {
                let behaviour = if i % 2 == 0 { "panic" } else { "" };
                let mut task = Probe::behaves(behaviour).open_in(&sandbox, &probe).await;
                let _ = task.list_objects("thing", None, None).await;
            }
        });
    }
    while let Some(done) = soon(crowd.join_next()).await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_holds_no_slot() {
    let sandbox = guests::sandbox(1);
    let probe = guests::load(&sandbox, "probe").await;
    let gate = Gate::closed();
    let mut task = Probe::behaves("burst:1")
        .through_shared(gate.clone())
        .open_in(&sandbox, &probe)
        .await;
    let call = tokio::spawn(async move { task.list_objects("thing", None, None).await });
    soon(gate.until_begun(1)).await;
    call.abort();
    assert!(call.await.is_err());
    soon(Probe::behaves("").open_in(&sandbox, &probe)).await;
    soon(gate.until_all_ended()).await;
}
