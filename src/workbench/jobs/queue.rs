//! The queue of jobs and what comes out of it.

use crate::engine::context::{Ctx, ProgressView, Warning};
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Results under way before a job has to wait for the watcher.
const CHANNEL_CAPACITY: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(u64);

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    Done(T),
    /// Stopped by the person: no fault.
    Cancelled,
    Failed {
        message: String,
    },
}

/// What [`Jobs::drain`] reports.
#[derive(Debug)]
pub enum Event<T> {
    /// A part of a result, while the job goes on.
    Part {
        id: JobId,
        part: T,
    },
    Ended {
        id: JobId,
        kind: &'static str,
        title: String,
        outcome: Outcome<T>,
        warnings: Vec<Warning>,
        seconds: f64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    Waiting,
    Running,
    /// Told to stop, but its thread has not yet.
    Cancelling,
}

/// A job as it is shown.
#[derive(Debug, Clone)]
pub struct JobView {
    pub id: JobId,
    pub kind: &'static str,
    pub title: String,
    pub state: JobState,
    pub progress: ProgressView,
    pub seconds: f64,
    /// Estimated from the part of the work that is being done; `None` while unknown.
    pub seconds_left: Option<f64>,
}

/// Where a running job posts parts of its result. Never to be used on a thread of the pool: it
/// waits while the watcher is behind.
pub struct Post<T> {
    id: JobId,
    sender: SyncSender<Message<T>>,
    waker: Waker,
}

impl<T> Post<T> {
    /// Posts a part; one that nobody waits for any more is dropped.
    pub fn part(&self, part: T) {
        if self.sender.send(Message::Part(self.id, part)).is_ok() {
            self.waker.wake_by_ref();
        }
    }
}

enum Message<T> {
    Part(JobId, T),
    Ended(JobId, Outcome<T>),
}

type Work<T> = Box<dyn FnOnce(&Ctx, &Post<T>) -> Result<T, String> + Send>;

struct Waiting<T> {
    id: JobId,
    kind: &'static str,
    title: String,
    work: Work<T>,
}

struct Running {
    id: JobId,
    kind: &'static str,
    title: String,
    ctx: Ctx,
    started: Instant,
    stage: (String, Instant),
    thread: Option<JoinHandle<()>>,
}

/// One job of a kind runs at a time; others of the kind wait their turn.
pub struct Jobs<T> {
    base: Ctx,
    waker: Waker,
    next: u64,
    waiting: VecDeque<Waiting<T>>,
    running: Vec<Running>,
    sender: SyncSender<Message<T>>,
    receiver: Receiver<Message<T>>,
    /// Ends that came without a thread: cancelled before they began, or never begun.
    ended: Vec<Event<T>>,
}

impl<T: Send + 'static> Jobs<T> {
    /// Jobs run in contexts made from `base` (its pool and seed); `waker` is woken when there is
    /// something to drain.
    #[must_use]
    pub fn new(base: Ctx, waker: Waker) -> Self {
        let (sender, receiver) = sync_channel(CHANNEL_CAPACITY);
        Self { base, waker, next: 0, waiting: VecDeque::new(), running: Vec::new(), sender, receiver, ended: Vec::new() }
    }

    /// Queues work under a kind; it starts at once when none of its kind runs.
    pub fn submit(
        &mut self,
        kind: &'static str,
        title: impl Into<String>,
        work: impl FnOnce(&Ctx, &Post<T>) -> Result<T, String> + Send + 'static,
    ) -> JobId {
        let id = JobId(self.next);
        self.next += 1;
        self.waiting.push_back(Waiting { id, kind, title: title.into(), work: Box::new(work) });
        self.start_waiting();
        id
    }

    fn start_waiting(&mut self) {
        let mut index = 0;
        while let Some(waiting) = self.waiting.get(index) {
            if self.running.iter().any(|r| r.kind == waiting.kind) {
                index += 1;
            } else if let Some(waiting) = self.waiting.remove(index) {
                self.start(waiting);
            }
        }
    }

    fn start(&mut self, waiting: Waiting<T>) {
        let Waiting { id, kind, title, work } = waiting;
        let ctx = self.base.fresh();
        let post = Post { id, sender: self.sender.clone(), waker: self.waker.clone() };
        let inner = ctx.clone();
        let spawned = std::thread::Builder::new().name(format!("job-{kind}")).spawn(move || {
            let outcome = run(&inner, &post, work);
            if post.sender.send(Message::Ended(id, outcome)).is_ok() {
                post.waker.wake_by_ref();
            }
        });
        match spawned {
            Ok(thread) => {
                let now = Instant::now();
                self.running.push(Running {
                    id,
                    kind,
                    title,
                    ctx,
                    started: now,
                    stage: (String::new(), now),
                    thread: Some(thread),
                });
            }
            Err(error) => {
                let outcome = Outcome::Failed { message: format!("the system refused to start a thread: {error}") };
                self.ended.push(Event::Ended { id, kind, title, outcome, warnings: Vec::new(), seconds: 0.0 });
                self.waker.wake_by_ref();
            }
        }
    }

    /// What happened since the last call; starts what can start.
    pub fn drain(&mut self) -> Vec<Event<T>> {
        let mut events = Vec::new();
        loop {
            match self.receiver.try_recv() {
                Ok(Message::Part(id, part)) => events.push(Event::Part { id, part }),
                Ok(Message::Ended(id, outcome)) => {
                    if let Some(index) = self.running.iter().position(|r| r.id == id) {
                        events.push(finish(self.running.remove(index), outcome));
                    }
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        events.append(&mut self.ended);
        self.start_waiting();
        events
    }

    /// Tells a job to stop. Its end is reported by [`Jobs::drain`] once its thread has stopped.
    pub fn cancel(&mut self, id: JobId) {
        self.cancel_where(|i, _| i == id);
    }

    pub fn cancel_kind(&mut self, kind: &'static str) {
        self.cancel_where(|_, k| k == kind);
    }

    pub fn cancel_all(&mut self) {
        self.cancel_where(|_, _| true);
    }

    fn cancel_where(&mut self, chosen: impl Fn(JobId, &'static str) -> bool) {
        for running in self.running.iter().filter(|r| chosen(r.id, r.kind)) {
            running.ctx.cancel();
        }
        let (stopped, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|w| chosen(w.id, w.kind));
        self.waiting = kept;
        for Waiting { id, kind, title, .. } in stopped {
            self.ended.push(Event::Ended { id, kind, title, outcome: Outcome::Cancelled, warnings: Vec::new(), seconds: 0.0 });
        }
        self.waker.wake_by_ref();
    }

    /// The number that the next job gets.
    #[must_use]
    pub fn next_id(&self) -> JobId {
        JobId(self.next)
    }

    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty() && self.ended.is_empty()
    }

    #[must_use]
    pub fn has_kind(&self, kind: &'static str) -> bool {
        self.running.iter().any(|r| r.kind == kind) || self.waiting.iter().any(|w| w.kind == kind)
    }

    /// Running jobs, then waiting ones.
    pub fn views(&mut self) -> Vec<JobView> {
        let running = self.running.iter_mut().map(Running::view);
        let waiting = self.waiting.iter().map(|w| JobView {
            id: w.id,
            kind: w.kind,
            title: w.title.clone(),
            state: JobState::Waiting,
            progress: ProgressView::default(),
            seconds: 0.0,
            seconds_left: None,
        });
        running.chain(waiting).collect()
    }

    /// Cancels everything and waits until the threads have stopped, but no longer than `patience`.
    /// Whether all have.
    pub fn shut_down(&mut self, patience: Duration) -> bool {
        self.cancel_all();
        let deadline = Instant::now() + patience;
        while !self.running.is_empty() && Instant::now() < deadline {
            drop(self.drain());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.running.is_empty()
    }
}

impl Running {
    fn view(&mut self) -> JobView {
        let progress = self.ctx.progress();
        if self.stage.0 != progress.label {
            self.stage = (progress.label.clone(), Instant::now());
        }
        let in_stage = self.stage.1.elapsed().as_secs_f64();
        let known = progress.total > 0 && progress.done > 0 && progress.done <= progress.total;
        JobView {
            id: self.id,
            kind: self.kind,
            title: self.title.clone(),
            state: if self.ctx.is_cancelled() { JobState::Cancelling } else { JobState::Running },
            seconds: self.started.elapsed().as_secs_f64(),
            seconds_left: known.then(|| in_stage * (progress.total - progress.done) as f64 / progress.done as f64),
            progress,
        }
    }
}

fn finish<T>(mut running: Running, outcome: Outcome<T>) -> Event<T> {
    if let Some(thread) = running.thread.take() {
        // It has sent its last message: there is nothing left to wait for but its exit.
        drop(thread.join());
    }
    let warnings = running.ctx.take_warnings();
    let seconds = running.started.elapsed().as_secs_f64();
    Event::Ended { id: running.id, kind: running.kind, title: running.title, outcome, warnings, seconds }
}

/// Runs the work; whatever it does, there is an outcome.
fn run<T>(ctx: &Ctx, post: &Post<T>, work: Work<T>) -> Outcome<T> {
    match catch_unwind(AssertUnwindSafe(|| work(ctx, post))) {
        Ok(Ok(result)) => Outcome::Done(result),
        Ok(Err(_)) if ctx.is_cancelled() => Outcome::Cancelled,
        Ok(Err(message)) => Outcome::Failed { message },
        Err(panic) => Outcome::Failed { message: panic_message(ctx, panic.as_ref()) },
    }
}

fn panic_message(ctx: &Ctx, panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let stage = ctx.progress().label;
    let place = if stage.is_empty() { String::new() } else { format!(" while \"{stage}\"") };
    format!("a fault in the program{place}: {}; nothing was saved, please report it", text.unwrap_or("no message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs() -> Jobs<u32> {
        Jobs::new(Ctx::new(1).unwrap(), Waker::noop().clone())
    }

    fn until_idle(jobs: &mut Jobs<u32>) -> Vec<Event<u32>> {
        let (mut events, start) = (Vec::new(), Instant::now());
        while !jobs.is_idle() {
            events.extend(jobs.drain());
            assert!(start.elapsed() < Duration::from_secs(20), "jobs never end");
            std::thread::sleep(Duration::from_millis(1));
        }
        events
    }

    fn outcomes(events: &[Event<u32>]) -> Vec<(JobId, Outcome<u32>)> {
        events
            .iter()
            .filter_map(|e| if let Event::Ended { id, outcome, .. } = e { Some((*id, outcome.clone())) } else { None })
            .collect()
    }

    #[test]
    fn done_with_parts_and_warnings() {
        let mut jobs = jobs();
        let id = jobs.submit("a", "count", |ctx, post| {
            ctx.warn("conv1", "odd");
            post.part(1);
            post.part(2);
            Ok(3)
        });
        let events = until_idle(&mut jobs);
        assert!(matches!(events[..2], [Event::Part { part: 1, .. }, Event::Part { part: 2, .. }]));
        assert_eq!(outcomes(&events), [(id, Outcome::Done(3))]);
        let Event::Ended { warnings, title, .. } = &events[2] else { panic!("no end") };
        assert_eq!((warnings[0].subject.as_str(), title.as_str()), ("conv1", "count"));
    }

    #[test]
    fn cancelled_is_its_own_outcome() {
        let mut jobs = jobs();
        let running = jobs.submit("a", "long", |ctx, _| {
            ctx.start("turning", 10);
            loop {
                ctx.check().map_err(|e| e.to_string())?;
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let waiting = jobs.submit("a", "next", |_, _| Ok(1));
        jobs.cancel_all();
        assert_eq!(jobs.views()[0].state, JobState::Cancelling);
        let mut ends = outcomes(&until_idle(&mut jobs));
        ends.sort_by_key(|e| e.0);
        assert_eq!(ends, [(running, Outcome::Cancelled), (waiting, Outcome::Cancelled)]);
    }

    #[test]
    fn a_panic_is_a_failed_job() {
        let mut jobs = jobs();
        jobs.submit("a", "bad", |ctx, _| {
            ctx.start("dividing", 0);
            panic!("by zero")
        });
        let ends = outcomes(&until_idle(&mut jobs));
        let Outcome::Failed { message } = &ends[0].1 else { panic!("{ends:?}") };
        assert!(message.contains("by zero") && message.contains("dividing"), "{message}");
    }

    #[test]
    fn one_of_a_kind_at_a_time() {
        let mut jobs = jobs();
        let (open, gate) = sync_channel::<()>(1);
        jobs.submit("a", "first", move |_, _| gate.recv().map(|()| 1).map_err(|e| e.to_string()));
        jobs.submit("a", "second", |_, _| Ok(2));
        jobs.submit("b", "other", |_, _| Ok(3));
        let states: Vec<JobState> = jobs.views().iter().map(|v| v.state).collect();
        assert_eq!(states, [JobState::Running, JobState::Running, JobState::Waiting]);
        open.send(()).unwrap();
        let mut ends: Vec<_> = outcomes(&until_idle(&mut jobs)).into_iter().map(|e| e.1).collect();
        ends.sort_by_key(|o| if let Outcome::Done(n) = o { *n } else { 0 });
        assert_eq!(ends, [Outcome::Done(1), Outcome::Done(2), Outcome::Done(3)]);
    }

    #[test]
    fn shutting_down_waits_for_threads() {
        let mut jobs = jobs();
        jobs.submit("a", "long", |ctx, _| {
            while !ctx.is_cancelled() {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(String::new())
        });
        assert!(jobs.shut_down(Duration::from_secs(10)) && jobs.is_idle());
    }
}
