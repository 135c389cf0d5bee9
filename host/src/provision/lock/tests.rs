#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use super::*;

/// One lease, as an API server keeps it.
#[derive(Default)]
struct Fake {
    lease: Mutex<Option<Value>>,
    version: Mutex<u64>,
    forbidden: bool,
    /// Answers that get lost.
    lost: Mutex<u32>,
    /// The API server does not answer.
    down: Mutex<bool>,
    writes: Mutex<u32>,
    /// For how long a write is on its way, and for how many.
    slow: Mutex<(Duration, u32)>,
}

fn reply(status: u16, body: Value) -> Reply {
    Reply { status, body }
}

fn gone() -> UpstreamError {
    UpstreamError::Timeout {
        what: "the API server".to_owned(),
        address: "x".to_owned(),
    }
}

impl Fake {
    fn put(&self, mut lease: Value) -> Outcome {
        let mut version = self.version.lock().unwrap();
        *version += 1;
        *self.writes.lock().unwrap() += 1;
        lease["metadata"]["resourceVersion"] = version.to_string().into();
        *self.lease.lock().unwrap() = Some(lease.clone());
        let mut lost = self.lost.lock().unwrap();
        if *lost > 0 {
            *lost -= 1;
            return Outcome::Unknown(gone());
        }
        Outcome::Answered(reply(200, lease))
    }

    async fn waits(&self) {
        let time = {
            let mut slow = self.slow.lock().unwrap();
            if slow.1 == 0 {
                return;
            }
            slow.1 -= 1;
            slow.0
        };
        clock::sleep(time).await;
    }

    fn holder(&self) -> String {
        let lease = self.lease.lock().unwrap();
        lease
            .as_ref()
            .map(|lease| holder(lease).to_owned())
            .unwrap_or_default()
    }

    fn held_by(&self, who: &str, seconds: u64) {
        let lease = json!({
            "metadata": {"name": "baton-host-a"},
            "spec": {"holderIdentity": who, "leaseDurationSeconds": seconds, "leaseTransitions": 3},
        });
        self.put(lease);
    }
}

impl Leases for Fake {
    async fn get(&self, name: &str) -> Result<Reply, UpstreamError> {
        assert_eq!(name, "baton-host-a");
        if *self.down.lock().unwrap() {
            return Err(gone());
        }
        if self.forbidden {
            return Ok(reply(403, json!({"message": "forbidden"})));
        }
        let lease = self.lease.lock().unwrap().clone();
        Ok(lease.map_or_else(|| reply(404, json!({})), |lease| reply(200, lease)))
    }

    async fn create(&self, lease: Value) -> Result<Outcome, UpstreamError> {
        self.waits().await;
        if self.lease.lock().unwrap().is_some() {
            return Ok(Outcome::Answered(reply(409, json!({}))));
        }
        Ok(self.put(lease))
    }

    async fn replace(&self, _: &str, lease: Value) -> Result<Outcome, UpstreamError> {
        self.waits().await;
        if *self.down.lock().unwrap() {
            return Err(gone());
        }
        let now = self.lease.lock().unwrap().clone();
        match now {
            Some(now) if version(&now) == version(&lease) => Ok(self.put(lease)),
            Some(_) => Ok(Outcome::Answered(reply(409, json!({})))),
            None => Ok(Outcome::Answered(reply(404, json!({})))),
        }
    }
}

/// Each test its own cluster: the mutexes are the process's.
fn claim(cluster: &str, identity: &str, wait: u64) -> Claim {
    Claim {
        cluster: cluster.to_owned(),
        principal: "abc".to_owned(),
        identity: identity.to_owned(),
        seconds: 15,
        until: clock::now() + Duration::from_secs(wait),
    }
}

#[tokio::test]
async fn a_lease_is_made_renewed_and_given_back() {
    clock::run(async {
        let fake = Arc::new(Fake::default());
        let lock = take(fake.clone(), claim("made", "one", 10)).await.unwrap();
        assert_eq!(fake.holder(), "one");
        assert!(lock.warning.is_none());
        clock::sleep(Duration::from_secs(60)).await;
        assert!(*fake.writes.lock().unwrap() > 10);
        lock.release().await;
        assert_eq!(fake.holder(), "");
        let lock = take(fake.clone(), claim("made", "two", 10)).await.unwrap();
        assert_eq!(fake.holder(), "two");
        assert_eq!(
            fake.lease.lock().unwrap().as_ref().unwrap()["spec"]["leaseTransitions"],
            1
        );
        drop(lock);
    })
    .await
}

#[tokio::test]
async fn a_holder_who_is_gone_is_waited_for_by_our_own_clock() {
    clock::run(async {
        let fake = Arc::new(Fake::default());
        fake.held_by("dead", 15);
        let begun = clock::now();
        let lock = take(fake.clone(), claim("gone", "one", 60)).await.unwrap();
        let waited = clock::since(begun);
        assert!(
            waited >= Duration::from_secs(15) && waited < Duration::from_secs(17),
            "{waited:?}"
        );
        assert_eq!(fake.holder(), "one");
        drop(lock);
    })
    .await
}

#[tokio::test]
async fn a_holder_who_lives_keeps_it() {
    clock::run(async {
        let fake = Arc::new(Fake::default());
        let first = take(fake.clone(), claim("lives-1", "one", 10))
            .await
            .unwrap();
        // Another process: another mutex, the same lease.
        let Err(LockError::Held(by)) = take(fake.clone(), claim("lives-2", "two", 60)).await else {
            panic!("held")
        };
        assert_eq!(by, "one");
        let second = tokio::spawn(take(fake.clone(), claim("lives-2", "two", 60)));
        clock::sleep(Duration::from_secs(5)).await;
        first.release().await;
        let second = second.await.unwrap().unwrap();
        assert_eq!(fake.holder(), "two");
        drop(second);
    })
    .await
}

#[tokio::test]
async fn orders_of_one_process_wait_for_each_other() {
    clock::run(async {
        let fake = Arc::new(Fake::default());
        let first = take(fake.clone(), claim("here", "one", 10)).await.unwrap();
        assert!(matches!(
            take(fake.clone(), claim("here", "two", 5)).await,
            Err(LockError::Held(_))
        ));
        let mut other = claim("here", "two", 5);
        other.principal = "abd".to_owned();
        first.release().await;
        drop(take(fake.clone(), other).await.unwrap());
    })
    .await
}

#[tokio::test]
async fn without_rights_there_is_a_warning() {
    clock::run(async {
        let fake = Arc::new(Fake {
            forbidden: true,
            ..Fake::default()
        });
        let lock = take(fake.clone(), claim("forbidden", "one", 10))
            .await
            .unwrap();
        assert!(lock.warning.as_ref().unwrap().contains("only one host"));
        assert!(
            clock::timeout(Duration::from_secs(600), lock.lost())
                .await
                .is_err()
        );
        lock.release().await;
    })
    .await
}

#[tokio::test]
async fn a_lost_answer_does_not_lock_us_out() {
    clock::run(async {
        let fake = Arc::new(Fake::default());
        *fake.lost.lock().unwrap() = 1;
        let begun = clock::now();
        let lock = take(fake.clone(), claim("lost", "one", 10)).await.unwrap();
        assert!(clock::since(begun) < Duration::from_secs(1));
        // Nor does one of a renewal.
        *fake.lost.lock().unwrap() = 1;
        clock::sleep(Duration::from_secs(30)).await;
        assert!(
            clock::timeout(Duration::from_secs(30), lock.lost())
                .await
                .is_err()
        );
        lock.release().await;
        assert_eq!(fake.holder(), "");
    })
    .await
}

#[tokio::test]
async fn who_loses_it_hears_of_it() {
    clock::run(async {
        let fake = Arc::new(Fake::default());
        let lock = take(fake.clone(), claim("taken", "one", 10)).await.unwrap();
        fake.held_by("thief", 15);
        let why = clock::timeout(Duration::from_secs(6), lock.lost()).await;
        assert!(why.unwrap().contains("thief has taken"));
        lock.release().await;
        assert_eq!(fake.holder(), "thief");
        let fake = Arc::new(Fake::default());
        let lock = take(fake.clone(), claim("down", "one", 10)).await.unwrap();
        *fake.down.lock().unwrap() = true;
        let why = clock::timeout(Duration::from_secs(25), lock.lost()).await;
        assert!(why.unwrap().contains("could not be renewed for 15 s"));
    })
    .await
}

#[tokio::test]
async fn a_renewal_that_hangs_does_not_make_the_lock_longer() {
    clock::run(async {
        let fake = Arc::new(Fake::default());
        // Making it took a while: others count from when it was made.
        *fake.slow.lock().unwrap() = (Duration::from_secs(4), 1);
        let begun = clock::now();
        let lock = take(fake.clone(), claim("hangs", "one", 30)).await.unwrap();
        *fake.slow.lock().unwrap() = (Duration::from_secs(60), 99);
        let why = clock::timeout(Duration::from_secs(60), lock.lost()).await;
        assert!(why.unwrap().contains("could not be renewed for 15 s"));
        assert_eq!(clock::since(begun).as_secs(), 15);
        drop(lock);
        // One connection that hangs is not the end.
        let fake = Arc::new(Fake::default());
        let lock = take(fake.clone(), claim("hangs-1", "one", 30))
            .await
            .unwrap();
        *fake.slow.lock().unwrap() = (Duration::from_secs(60), 1);
        let lost = clock::timeout(Duration::from_secs(120), lock.lost()).await;
        assert!(lost.is_err());
        drop(lock);
    })
    .await
}
