//! Plan, check, send, and plan again, until a plan is empty.
//!
//! A round that meets somebody else's change ends and the next one plans on
//! what is there now; any other failure takes back, in reverse order, what this
//! order changed. What was answered with success and is planned again was not
//! read back yet: EKS is slow to show its own writes, so it is waited for
//! before it is sent once more.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::answer::{Verdict, verdict};
use super::audit::Event;
use super::check::{self, Checked, Effect, Problem, Step};
use super::clock::{self, Instant};
use super::facts::{self, Cloud, Facts};
use super::plans::{Plans, sentences, within_limits};
use super::rows::Rows;
use super::undo::{Standing, kept, standing};
use super::wish::Wish;
use super::{Applied, Cause, Direction, Done, Mode, Order, ProvisionError, State};
use crate::sandbox::contract::Plan;
use crate::upstream::operation::write::{Planned, Write, plan as parse};
use crate::upstream::rights::{Granted, Kind};
use crate::upstream::{Outcome, UpstreamError};

/// Rounds in which something is sent.
const ROUNDS: u32 = 5;
/// Plans in a row that do not fit what the host reads.
const MISFITS: u32 = 5;
/// For how long a success may not show.
const LAG: Duration = Duration::from_secs(30);
/// For how long EKS may not know what was just made.
const NOT_YET: Duration = Duration::from_secs(20);
/// What a request that is on its way gets when the order is stopped.
const GRACE: Duration = Duration::from_secs(5);
/// Attempts at one change whose outcome is not known.
const ATTEMPTS: u32 = 3;
/// The first and the longest wait.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(4);

/// Why an order ends early from outside.
pub type Ended = Option<(Cause, String)>;

/// One order under way.
pub struct Run<'a, C: Cloud, P: Plans> {
    /// The way to the cluster.
    pub cloud: &'a C,
    /// Where plans come from.
    pub plans: P,
    /// The order.
    pub order: &'a Order,
    /// The order as the host reads it.
    pub wish: &'a Wish,
    /// What the connector may plan.
    pub granted: &'a [Granted],
    /// The cluster's name.
    pub cluster: &'a str,
    /// Where rows go.
    pub rows: &'a Rows<'a>,
    /// Tells when the order has to end.
    pub ended: watch::Receiver<Ended>,
    /// What was changed so far.
    pub progress: Progress,
}

/// What an order did so far.
#[derive(Debug, Default)]
pub struct Progress {
    pub(super) made: Vec<Made>,
    shown: Vec<Applied>,
    rounds: u32,
    remaining: Vec<String>,
    /// One sentence each.
    pub warnings: Vec<String>,
    given_up: Vec<Write>,
    steps: u32,
}

/// A change that was made, or may have been.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) checked: Checked,
    /// The upstream said so.
    pub(super) sure: bool,
    at: Instant,
    /// It repeats one that never showed.
    again: bool,
}

/// What became of one change.
enum Sent {
    Made,
    Conflict,
}

pub(super) fn failed(cause: Cause, what: impl Into<String>) -> ProvisionError {
    ProvisionError::Failed {
        cause,
        what: what.into(),
        hint: None,
        undone: Vec::new(),
        left: Vec::new(),
    }
}

/// A plan that is none.
fn bad(why: &str) -> ProvisionError {
    ProvisionError::BadPlan {
        sentence: format!("the connector's plan is refused, and nothing of it was sent: {why}"),
    }
}

/// Why an order ends from outside.
fn why(ended: &Ended) -> ProvisionError {
    match ended {
        Some((cause, sentence)) => failed(*cause, sentence.clone()),
        None => failed(Cause::Stopped, "stopped"),
    }
}

/// An answer that ends an order.
pub(super) fn refusal(verdict: Verdict) -> ProvisionError {
    match verdict {
        Verdict::NotPermitted { sentence, hint } => ProvisionError::Failed {
            cause: Cause::NotPermitted,
            what: sentence,
            hint: Some(hint),
            undone: Vec::new(),
            left: Vec::new(),
        },
        Verdict::Conflict(why) => failed(Cause::Conflict, why),
        Verdict::Unavailable(why) => failed(Cause::Unavailable, why),
        Verdict::Refused(why) | Verdict::NotYet(why) => failed(Cause::Refused, why),
        Verdict::Done => failed(Cause::Refused, "refused"),
    }
}

/// Text for people, as long as a person reads.
fn cut(text: &str) -> String {
    match text.char_indices().nth(4096) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A wait that doubles.
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    pub(super) fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(LONGEST);
        wait
    }
}

/// Whether two changes lead to the same.
fn same(one: &Checked, two: &Checked) -> bool {
    match (&one.effect, &two.effect) {
        (Effect::Entry { after, .. }, Effect::Entry { after: again, .. }) => after == again,
        (
            Effect::Association { policy, after, .. },
            Effect::Association {
                policy: other,
                after: again,
                ..
            },
        ) => policy == other && after == again,
        (
            Effect::Binding { place, after, .. },
            Effect::Binding {
                place: other,
                after: again,
                ..
            },
        ) => place == other && after.is_some() == again.is_some(),
        (Effect::AwsAuth { after, .. }, Effect::AwsAuth { after: again, .. }) => after == again,
        _ => false,
    }
}

/// Why a change of EKS does not fit any more. Its objects have no versions, so
/// they are looked at right before: what is left to chance is one request long.
async fn outdated(cloud: &impl Cloud, change: &Checked) -> Result<Option<String>, UpstreamError> {
    if change.write.kind() != Kind::Eks {
        return Ok(None);
    }
    if standing(cloud, &change.effect).await? != Standing::Before {
        return Ok(Some("it is not as it was any more".to_owned()));
    }
    let Write::DeleteEntry { principal } = &change.write else {
        return Ok(None);
    };
    // Policies go with their entry. One that we took away may still show.
    let mut wait = Backoff::new();
    for _ in 0..4 {
        if facts::associations(cloud, principal).await?.is_empty() {
            return Ok(None);
        }
        clock::sleep(wait.next()).await;
    }
    Ok(Some("it has access policies".to_owned()))
}

impl<C: Cloud, P: Plans> Run<'_, C, P> {
    /// Makes the wish true, or leaves everything as it was.
    ///
    /// # Errors
    /// See [`ProvisionError`].
    pub async fn run(mut self) -> Result<Done, ProvisionError> {
        match self.rounds().await {
            Ok(state) => {
                if self.order.mode != Mode::Plan {
                    // It is done; a full disk does not undo it.
                    if let Err(error) = self.rows.event(Event::Done, None) {
                        self.progress.warnings.push(error.to_string());
                    }
                }
                Ok(Done {
                    state,
                    operation: self.order.operation.clone(),
                    rounds: self.progress.rounds,
                    changes: self.progress.shown,
                    remaining: self.progress.remaining,
                    warnings: self.progress.warnings,
                })
            }
            Err(error) => Err(self.fail(error).await),
        }
    }

    /// Ends what can be left at any time when the order has to end.
    async fn unless<T>(&self, work: impl Future<Output = T>) -> Result<T, ProvisionError> {
        let mut ended = self.ended.clone();
        tokio::select! {
            biased;
            Ok(reason) = ended.wait_for(Option::is_some) => Err(why(&reason)),
            value = work => Ok(value),
        }
    }

    fn go_on(&self) -> Result<(), ProvisionError> {
        match &*self.ended.borrow() {
            None => Ok(()),
            some => Err(why(some)),
        }
    }

    async fn rounds(&mut self) -> Result<State, ProvisionError> {
        let mut wait = Backoff::new();
        let mut misfits = 0;
        let mut first = true;
        loop {
            self.go_on()?;
            let (direction, wish) = (self.order.direction, self.order.wish.clone());
            let mut ended = self.ended.clone();
            let plan = tokio::select! {
                biased;
                Ok(reason) = ended.wait_for(Option::is_some) => return Err(why(&reason)),
                plan = self.plans.plan(direction, &wish) => plan?,
            };
            self.progress.remaining = sentences(&plan, "remaining");
            for warning in sentences(&plan, "warning") {
                if !self.progress.warnings.contains(&warning) {
                    self.progress.warnings.push(warning);
                }
            }
            if plan.changes.is_empty() {
                if self.doubted(&mut misfits, &mut wait).await? {
                    continue;
                }
                return Ok(self.outcome(first));
            }
            first = false;
            let writes = self.writes(&plan)?;
            let facts = self
                .unless(Facts::read(self.cloud, self.wish, direction, &writes))
                .await??;
            check::people(self.wish, &facts)?;
            let checked = match check::plan(self.wish, direction, &facts, writes) {
                Ok(checked) => checked,
                Err(Problem::Bad(why)) => return Err(bad(&why)),
                Err(Problem::Moved(why)) => {
                    misfits += 1;
                    if misfits == MISFITS && self.progress.made.is_empty() {
                        return Err(bad(&why));
                    }
                    if misfits > 2 * MISFITS {
                        return Err(failed(
                            Cause::Conflict,
                            format!(
                                "what the connector plans and what is read do not agree: {why}"
                            ),
                        ));
                    }
                    self.unless(clock::sleep(wait.next())).await?;
                    continue;
                }
            };
            let summaries = plan.changes.iter();
            let summaries = summaries.map(|change| crate::sandbox::clean(&change.summary, 1000));
            // Each with its own sentence, whichever are left out.
            let mut checked: Vec<(Checked, String)> = checked.into_iter().zip(summaries).collect();
            checked.retain(|(change, _)| {
                change.step != Step::Cleanup || !self.progress.given_up.contains(&change.write)
            });
            if checked.is_empty() {
                if self.doubted(&mut misfits, &mut wait).await? {
                    continue;
                }
                return Ok(self.outcome(false));
            }
            misfits = 0;
            match self.order.mode {
                Mode::Apply => {}
                Mode::Plan => {
                    for (change, summary) in &checked {
                        let shown = self.applied(change, summary, "", false, "planned");
                        self.progress.shown.push(shown);
                    }
                    return Ok(State::Planned);
                }
                Mode::DryRun => {
                    for (change, summary) in checked {
                        self.go_on()?;
                        self.dry_run(change, &summary).await?;
                    }
                    return Ok(State::Planned);
                }
            }
            if self.lags(&checked)? {
                self.unless(clock::sleep(wait.next())).await?;
                continue;
            }
            if self.progress.rounds == ROUNDS {
                return Err(failed(
                    Cause::Conflict,
                    format!(
                        "others change the same objects: the wish is not true after {ROUNDS} rounds"
                    ),
                ));
            }
            self.progress.rounds += 1;
            for (change, summary) in checked {
                self.go_on()?;
                match self.send(change, &summary).await? {
                    Sent::Made => wait = Backoff::new(),
                    Sent::Conflict => {
                        self.unless(clock::sleep(wait.next())).await?;
                        break;
                    }
                }
            }
        }
    }

    /// Whether a plan without changes is asked for again, because what the
    /// host sees itself says otherwise; in the end it is refused.
    async fn doubted(&self, misfits: &mut u32, wait: &mut Backoff) -> Result<bool, ProvisionError> {
        let Some(why) = self.unless(self.untrue()).await?? else {
            return Ok(false);
        };
        *misfits += 1;
        if (*misfits >= MISFITS && self.progress.made.is_empty()) || *misfits > 2 * MISFITS {
            return Err(bad(&format!("it has no changes, and {why}")));
        }
        // EKS may only be behind.
        self.unless(clock::sleep(wait.next())).await?;
        Ok(true)
    }

    /// Why the wish is plainly not true. Only what is the host's own is looked
    /// at: other ways to the same access are the connector's to find.
    async fn untrue(&self) -> Result<Option<String>, UpstreamError> {
        if self.order.direction == Direction::Revoke {
            let kept = kept(self.cloud, self.wish).await?;
            return Ok(kept.map(|object| format!("{object} is still there")));
        }
        let place = self.wish.place();
        let own = self.progress.made.iter().rfind(|made| {
            made.sure
                && match &made.checked.effect {
                    Effect::Binding { place: at, .. } => Some(at) == place.as_ref(),
                    Effect::Association { .. } => true,
                    _ => false,
                }
        });
        let Some(Made { checked, .. }) = own else {
            return Ok(None);
        };
        let there = match &checked.effect {
            // Others may have widened it.
            Effect::Association { .. } => kept(self.cloud, self.wish).await?.is_some(),
            effect => matches!(standing(self.cloud, effect).await?, Standing::After(_)),
        };
        Ok((!there).then(|| format!("{} is not what was made of it", checked.object)))
    }

    fn outcome(&self, first: bool) -> State {
        match (first && self.progress.made.is_empty(), self.order.direction) {
            (true, Direction::Grant) => State::AlreadyGranted,
            (true, Direction::Revoke) => State::AlreadyRevoked,
            // Conflicts alone: somebody else made it true in the meantime.
            (false, Direction::Grant) if self.progress.made.is_empty() => State::AlreadyGranted,
            (false, Direction::Revoke) if self.progress.made.is_empty() => State::AlreadyRevoked,
            (false, _) => State::Changed,
        }
    }

    /// The changes of a plan as what they mean.
    fn writes(&self, plan: &Plan) -> Result<Vec<Write>, ProvisionError> {
        if plan.changes.len() > check::CHANGES {
            return Err(bad(&format!(
                "it has {} changes, and a plan has at most {}",
                plan.changes.len(),
                check::CHANGES
            )));
        }
        plan.changes
            .iter()
            .map(|change| {
                within_limits(change).map_err(|why| bad(&why))?;
                let planned = Planned {
                    upstream: &change.upstream,
                    method: &change.method,
                    path: &change.path,
                    body: change.body.as_deref(),
                };
                parse(self.granted, self.cluster, &planned)
                    .map_err(|denial| bad(&denial.sentence("the connector")))
            })
            .collect()
    }

    /// Whether a plan repeats what was answered with success a moment ago.
    fn lags(&mut self, checked: &[(Checked, String)]) -> Result<bool, ProvisionError> {
        let slow = |write: &Write| write.kind() == Kind::Eks;
        let changes = checked.iter().map(|(change, _)| change);
        for change in changes.filter(|change| slow(&change.write)) {
            let Some(made) = self
                .progress
                .made
                .iter()
                .rfind(|made| made.sure && same(&made.checked, change))
            else {
                continue;
            };
            if clock::since(made.at) < LAG {
                return Ok(true);
            }
            if made.again {
                return Err(failed(
                    Cause::Unavailable,
                    format!(
                        "EKS said twice that {} is changed, and does not show it after {} s",
                        change.object,
                        LAG.as_secs()
                    ),
                ));
            }
        }
        Ok(false)
    }

    fn token(&mut self) -> String {
        self.progress.steps += 1;
        let text = format!("{}|{}", self.order.operation, self.progress.steps);
        let hash = hex::encode(Sha256::digest(text.as_bytes()));
        hash.get(..32).unwrap_or_default().to_owned()
    }

    pub(super) fn applied(
        &self,
        change: &Checked,
        summary: &str,
        token: &str,
        dry_run: bool,
        result: &str,
    ) -> Applied {
        let some = |text: &String| (!text.is_empty()).then(|| cut(text));
        let query = if dry_run { "?dryRun=All" } else { "" };
        Applied {
            summary: summary.to_owned(),
            object: change.object.clone(),
            step: change.step.name().to_owned(),
            upstream: self.upstream(&change.write),
            method: change.write.method().to_string(),
            url_path: format!("{}{query}", change.write.path(self.cluster)),
            body: change.write.body(token).map(|mut body| {
                if token.is_empty()
                    && let Some(members) = body.as_object_mut()
                {
                    // Made when it is sent.
                    members.remove("clientRequestToken");
                }
                body
            }),
            before: some(&change.before),
            after: some(&change.after),
            result: result.to_owned(),
        }
    }

    fn upstream(&self, write: &Write) -> String {
        let granted = self.granted.iter().find(|g| g.kind == write.kind());
        granted.map_or_else(String::new, |granted| granted.name.clone())
    }

    async fn dry_run(&mut self, change: Checked, summary: &str) -> Result<(), ProvisionError> {
        if change.write.kind() != Kind::Cluster {
            let shown = self.applied(&change, summary, "", false, "not tried");
            self.progress.shown.push(shown);
            return Ok(());
        }
        let mut shown = self.applied(&change, summary, "", true, "");
        self.written(Event::Request, &shown, None, Some("dry run"))?;
        let outcome = self
            .unless(self.cloud.change(&change.write, "", true))
            .await??;
        let reply = match outcome {
            Outcome::Answered(reply) => reply,
            Outcome::Unknown(error) => return Err(error.into()),
        };
        self.written(Event::Request, &shown, Some(reply.status), Some("dry run"))?;
        match verdict(&change.write, change.effect.bound(), &reply, false) {
            Verdict::Done => shown.result = format!("dry run {}", reply.status),
            Verdict::Conflict(why) | Verdict::NotYet(why) => {
                shown.result = format!("dry run {}: {why}", reply.status);
            }
            other => return Err(refusal(other)),
        }
        self.progress.shown.push(shown);
        Ok(())
    }

    /// Sends a change until it is known what became of it. A request that may
    /// have arrived is remembered, whatever became of those after it: EKS may
    /// show only later that it did.
    async fn send(&mut self, change: Checked, summary: &str) -> Result<Sent, ProvisionError> {
        let known = self.progress.made.len();
        let mut unknown = false;
        let result = self.tried(change.clone(), summary, &mut unknown).await;
        if unknown && self.progress.made.len() == known {
            self.remember(change, false);
        }
        result
    }

    /// Sends a change, again where that helps, and says whether the outcome of
    /// one request was unknown.
    async fn tried(
        &mut self,
        change: Checked,
        summary: &str,
        unknown: &mut bool,
    ) -> Result<Sent, ProvisionError> {
        let token = self.token();
        let mut shown = self.applied(&change, summary, &token, false, "");
        match self.unless(outdated(self.cloud, &change)).await? {
            Ok(None) => {}
            Ok(Some(why)) => return self.conflict(&change, shown, "conflict", why),
            Err(error) => return self.no(&change, shown, error.into()),
        }
        let (begun, mut wait, mut tries) = (clock::now(), Backoff::new(), 0);
        loop {
            tries += 1;
            self.written(Event::Request, &shown, None, None)?;
            let outcome = self.on_its_way(&change.write, &token).await;
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(error) => {
                    self.noted(Event::Request, &shown, None, Some(&error.to_string()));
                    return self.no(
                        &change,
                        shown,
                        failed(Cause::Unavailable, error.to_string()),
                    );
                }
            };
            match outcome {
                Outcome::Answered(reply) => {
                    let message = (!reply.is_success()).then(|| reply.message().to_owned());
                    self.noted(
                        Event::Request,
                        &shown,
                        Some(reply.status),
                        message.as_deref(),
                    );
                    let created = self.created();
                    match verdict(&change.write, change.effect.bound(), &reply, created) {
                        Verdict::Done => {
                            shown.result = format!("sent {}", reply.status);
                            self.made(change, shown, true);
                            return Ok(Sent::Made);
                        }
                        Verdict::Conflict(_) if *unknown => {
                            // Perhaps with ourselves: the lost request was it.
                            return self.resolve(change, shown).await;
                        }
                        Verdict::Conflict(why) => {
                            let what = format!("conflict {}", reply.status);
                            return self.conflict(&change, shown, &what, why);
                        }
                        Verdict::NotYet(why) => {
                            if clock::since(begun) >= NOT_YET {
                                let error = failed(Cause::Refused, why);
                                return self.no(&change, shown, error);
                            }
                            self.unless(clock::sleep(wait.next())).await?;
                        }
                        Verdict::Unavailable(why) => {
                            let error = failed(Cause::Unavailable, why);
                            return self.no(&change, shown, error);
                        }
                        other => return self.no(&change, shown, refusal(other)),
                    }
                }
                Outcome::Unknown(error) => {
                    *unknown = true;
                    self.noted(
                        Event::Request,
                        &shown,
                        None,
                        Some(&format!("outcome unknown: {error}")),
                    );
                    if let Err(ended) = self.go_on() {
                        shown.result = "outcome unknown".to_owned();
                        self.made(change, shown, false);
                        return Err(ended);
                    }
                    match self.looked(&change.effect).await {
                        Some(Standing::After(_)) => {
                            shown.result = "sent, and found made".to_owned();
                            self.made(change, shown, true);
                            return Ok(Sent::Made);
                        }
                        Some(Standing::Before) if tries < ATTEMPTS => {
                            // It may still be on its way.
                            if let Err(ended) = self.unless(clock::sleep(wait.next())).await {
                                shown.result = "outcome unknown".to_owned();
                                self.made(change, shown, false);
                                return Err(ended);
                            }
                        }
                        Some(Standing::Other) => {
                            shown.result = "outcome unknown".to_owned();
                            self.made(change, shown, false);
                            return Ok(Sent::Conflict);
                        }
                        Some(Standing::Before) | None => {
                            shown.result = "outcome unknown".to_owned();
                            let cleanup = change.step == Step::Cleanup;
                            self.made(change, shown, false);
                            let sentence = error.to_string();
                            if cleanup {
                                self.progress.warnings.push(format!(
                                    "whether what is not used any more was removed is not known: {sentence}"
                                ));
                                return Ok(Sent::Made);
                            }
                            return Err(failed(Cause::Unavailable, sentence));
                        }
                    }
                }
            }
        }
    }

    /// Somebody else's change is in the way: plan again.
    fn conflict(
        &mut self,
        change: &Checked,
        mut shown: Applied,
        what: &str,
        why: String,
    ) -> Result<Sent, ProvisionError> {
        if change.step == Step::Cleanup && self.given_up_twice(change) {
            return self.no(change, shown, failed(Cause::Conflict, why));
        }
        shown.result = format!("{what}: {why}");
        self.progress.shown.push(shown);
        Ok(Sent::Conflict)
    }

    /// A conflict after a request without an answer.
    async fn resolve(
        &mut self,
        change: Checked,
        mut shown: Applied,
    ) -> Result<Sent, ProvisionError> {
        match self.looked(&change.effect).await {
            Some(Standing::After(_)) => {
                shown.result = "sent, and found made".to_owned();
                self.made(change, shown, true);
                Ok(Sent::Made)
            }
            Some(Standing::Before) => {
                shown.result = "conflict".to_owned();
                self.progress.shown.push(shown);
                Ok(Sent::Conflict)
            }
            Some(Standing::Other) | None => {
                shown.result = "outcome unknown".to_owned();
                self.made(change, shown, false);
                Ok(Sent::Conflict)
            }
        }
    }

    fn made(&mut self, checked: Checked, shown: Applied, sure: bool) {
        self.progress.shown.push(shown);
        self.remember(checked, sure);
    }

    fn remember(&mut self, checked: Checked, sure: bool) {
        let again = self
            .progress
            .made
            .iter()
            .any(|made| made.sure && same(&made.checked, &checked));
        self.progress.made.push(Made {
            checked,
            sure,
            at: clock::now(),
            again,
        });
    }

    /// A change that is not made: the end, or only a warning.
    fn no(
        &mut self,
        change: &Checked,
        mut shown: Applied,
        error: ProvisionError,
    ) -> Result<Sent, ProvisionError> {
        if change.step != Step::Cleanup {
            shown.result = "failed".to_owned();
            self.progress.shown.push(shown);
            return Err(error);
        }
        let why = match &error {
            ProvisionError::Failed { what, .. } => what.clone(),
            other => other.to_string(),
        };
        self.progress.warnings.push(format!(
            "{} is not used any more and stays: {why}",
            change.object
        ));
        shown.result = format!("failed: {why}");
        self.progress.shown.push(shown);
        self.progress.given_up.push(change.write.clone());
        Ok(Sent::Made)
    }

    /// Whether a cleanup met a conflict before.
    fn given_up_twice(&self, change: &Checked) -> bool {
        let conflicts =
            self.progress.shown.iter().filter(|shown| {
                shown.object == change.object && shown.result.starts_with("conflict")
            });
        conflicts.count() >= 2
    }

    /// Whether this order made the principal's entry.
    fn created(&self) -> bool {
        self.progress.made.iter().any(|made| {
            matches!(
                made.checked.effect,
                Effect::Entry {
                    before: None,
                    after: Some(_),
                    ..
                }
            )
        })
    }

    /// Sends one request. When the order has to end it gets a little time.
    async fn on_its_way(&self, write: &Write, token: &str) -> Result<Outcome, UpstreamError> {
        let work = self.cloud.change(write, token, false);
        tokio::pin!(work);
        let mut ended = self.ended.clone();
        tokio::select! {
            biased;
            outcome = &mut work => return outcome,
            Ok(_) = ended.wait_for(Option::is_some) => {}
        }
        clock::timeout(GRACE, work).await.unwrap_or_else(|_| {
            Ok(Outcome::Unknown(UpstreamError::Answer {
                what: self.upstream(write),
                reason: "nothing before the order was stopped".to_owned(),
            }))
        })
    }

    /// Looks at what a request without an answer was about.
    async fn looked(&self, effect: &Effect) -> Option<Standing> {
        let mut wait = Backoff::new();
        for _ in 0..4 {
            match clock::timeout(GRACE, standing(self.cloud, effect)).await {
                Ok(Ok(standing)) => return Some(standing),
                Ok(Err(error)) => tracing::debug!(%error, "the outcome cannot be looked at"),
                Err(_) => {}
            }
            clock::sleep(wait.next()).await;
        }
        None
    }

    /// Writes a row before something is sent; without it nothing is.
    fn written(
        &self,
        event: Event,
        shown: &Applied,
        status: Option<u16>,
        message: Option<&str>,
    ) -> Result<(), ProvisionError> {
        self.rows
            .request(event, shown, status, message)
            .map_err(|error| failed(Cause::Audit, error.to_string()))
    }

    /// Writes a row about what happened already.
    pub(super) fn noted(
        &self,
        event: Event,
        shown: &Applied,
        status: Option<u16>,
        message: Option<&str>,
    ) {
        let message = message.map(|text| crate::sandbox::clean(text, 1000));
        if let Err(error) = self.written(event, shown, status, message.as_deref()) {
            tracing::error!("{error}");
        }
    }
}
