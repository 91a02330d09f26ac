//! Work shared out to threads: the one place where kernels meet rayon.
//!
//! A forward pass on one sample is hundreds of pieces of work of a few microseconds each, about what it
//! takes to wake a sleeping thread. So the threads that help stay awake for a moment after each piece
//! and take the next one from a counter. They are tasks of the pool that the caller runs in, and leave
//! when nothing comes or when others may be waiting for the pool.

use rayon::current_num_threads;
use std::any::Any;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

thread_local! {
    static SERIAL: Cell<bool> = const { Cell::new(false) };
    static TEAM: Arc<Team> = Arc::new(Team::new());
    /// Says that results are no longer wanted.
    static STOP: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Runs `work`; once `stop` is set, kernels in it return early, their results unfinished.
pub fn until<R>(stop: &Arc<AtomicBool>, work: impl FnOnce() -> R) -> R {
    struct Restore(Option<Arc<AtomicBool>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            STOP.replace(self.0.take());
        }
    }
    let _restore = Restore(STOP.replace(Some(Arc::clone(stop))));
    work()
}

/// Whether results are no longer wanted: asked by kernels with long loops of their own.
pub fn is_stopped() -> bool {
    STOP.with_borrow(|stop| stop.as_ref().is_some_and(|s| s.load(Ordering::Relaxed)))
}

/// Runs `work` with every kernel in it on the calling thread alone: for those who share out whole
/// pieces of work themselves.
pub fn serial<R>(work: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            SERIAL.set(self.0);
        }
    }
    let _restore = Restore(SERIAL.replace(true));
    work()
}

/// Threads that the calling one can share work out to, itself among them.
pub fn threads() -> usize {
    if SERIAL.get() { 1 } else { current_num_threads() }
}

/// Runs `work` for every number below `pieces`, in any order, on the threads of the calling rayon pool.
/// Pieces that run beside others share nothing out again. Not generic on purpose: compiled once.
///
/// # Panics
/// When a piece does.
pub fn each(pieces: usize, work: &(dyn Fn(usize) + Sync)) {
    if pieces <= 1 || threads() == 1 || u32::try_from(pieces).is_err() {
        (0..pieces).take_while(|_| !is_stopped()).for_each(work);
        return;
    }
    TEAM.with(|team| team.run(pieces, work));
}

/// Runs `work` for every part of `size` elements of `out` (the last one may be shorter) with its number.
///
/// # Panics
/// When a piece does.
pub fn parts<T: Send>(out: &mut [T], size: usize, work: &(dyn Fn(usize, &mut [T]) + Sync)) {
    /// A slice that tasks take apart.
    struct Start<T>(*mut T);
    impl<T> Start<T> {
        fn at(&self, index: usize) -> *mut T {
            self.0.wrapping_add(index)
        }
    }
    #[expect(unsafe_code, reason = "tasks write to disjoint parts of one slice")]
    // SAFETY: every task takes another part.
    unsafe impl<T: Send> Sync for Start<T> {}

    let (start, len, size) = (Start(out.as_mut_ptr()), out.len(), size.max(1));
    each(len.div_ceil(size), &|part| {
        let from = part * size;
        #[expect(unsafe_code, reason = "as above")]
        // SAFETY: in bounds, and no number comes twice, so that no part is borrowed twice; the slice is
        // borrowed until `each` is done.
        let taken = unsafe { std::slice::from_raw_parts_mut(start.at(from), size.min(len - from)) };
        work(part, taken);
    });
}

/// Runs `work` for every item with its number; for pieces that are no part of one slice.
///
/// # Panics
/// When a piece does.
pub fn tasks<T: Send>(items: impl Iterator<Item = T>, work: &(dyn Fn(usize, T) + Sync)) {
    let items: Vec<Mutex<Option<T>>> = items.map(|item| Mutex::new(Some(item))).collect();
    each(items.len(), &|i| {
        let item = items[i].lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(item) = item {
            work(i, item);
        }
    });
}

/// How long a helper waits for more work before it goes back to the pool.
const PATIENCE: Duration = Duration::from_micros(200);
/// How long it stays at most: other work may wait for the pool's threads. It is sent for again.
const TERM: Duration = Duration::from_millis(10);

type Job = *const (dyn Fn(usize) + Sync);

/// One thread that has work to share, and those that help it.
struct Team {
    owner: ThreadId,
    /// What is to be done; set by the owner alone, and only while no piece is open.
    job: UnsafeCell<Option<Job>>,
    /// Upper half: the next piece to take; lower half: how many there are.
    open: AtomicU64,
    done: AtomicUsize,
    /// Helpers that were sent for and have not left.
    helpers: AtomicUsize,
    failure: Mutex<Option<Box<dyn Any + Send>>>,
}

#[expect(unsafe_code, reason = "the job lies on the owner's stack")]
// SAFETY: the job is read only by who has taken a piece, and the owner waits until every piece is done
// before it sets another; `open` and `done` order the accesses.
unsafe impl Send for Team {}
#[expect(unsafe_code, reason = "as above")]
// SAFETY: as above.
unsafe impl Sync for Team {}

impl Team {
    fn new() -> Self {
        Self {
            owner: thread::current().id(),
            job: UnsafeCell::new(None),
            open: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            helpers: AtomicUsize::new(0),
            failure: Mutex::new(None),
        }
    }

    /// Called by the owner alone.
    fn run(self: &Arc<Self>, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
        #[expect(unsafe_code, reason = "the lifetime of the job is forgotten")]
        // SAFETY: only the lifetime changes; the job is not called after this function has returned.
        let job = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Job>(work) };
        #[expect(unsafe_code, reason = "as above")]
        // SAFETY: no piece is open or being done: nobody reads the job now.
        unsafe {
            *self.job.get() = Some(job);
        }
        self.done.store(0, Ordering::Relaxed);
        self.open.store(pieces as u64, Ordering::Release);
        self.call_helpers(pieces - 1);
        while self.take_one() {
            if is_stopped() {
                self.skip_rest();
            }
            // Those whose term ended between long pieces.
            self.call_helpers(self.left());
        }
        let mut spins = 0_u32;
        while self.done.load(Ordering::Acquire) < pieces {
            pause(&mut spins);
        }
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = failure {
            resume_unwind(panic);
        }
    }

    /// Pieces that nobody has taken yet.
    fn left(&self) -> usize {
        let open = self.open.load(Ordering::Relaxed);
        (open & u64::from(u32::MAX)).saturating_sub(open >> 32) as usize
    }

    /// Sends for as many helpers as there are pieces for, where they are not here yet.
    fn call_helpers(self: &Arc<Self>, pieces: usize) {
        let wanted = threads().min(pieces + 1) - 1;
        while self.helpers.load(Ordering::Relaxed) < wanted {
            self.helpers.fetch_add(1, Ordering::Relaxed);
            let team = Arc::clone(self);
            rayon::spawn(move || team.help());
        }
    }

    /// Takes pieces until none has come for a while.
    fn help(&self) {
        let began = Instant::now();
        let (mut since, mut spins) = (began, 0_u32);
        // The owner helps itself anyway.
        while thread::current().id() != self.owner && since.duration_since(began) < TERM {
            if self.take_one() {
                (since, spins) = (Instant::now(), 0);
                continue;
            }
            pause(&mut spins);
            if spins.is_multiple_of(64) && since.elapsed() > PATIENCE {
                break;
            }
        }
        self.helpers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Does one open piece, if there is one.
    fn take_one(&self) -> bool {
        let mut open = self.open.load(Ordering::Acquire);
        loop {
            let (next, pieces) = (open >> 32, open & u64::from(u32::MAX));
            if next >= pieces {
                return false;
            }
            match self.open.compare_exchange_weak(open, open + (1 << 32), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    self.do_piece(next as usize);
                    return true;
                }
                Err(now) => open = now,
            }
        }
    }

    fn do_piece(&self, piece: usize) {
        #[expect(unsafe_code, reason = "the job lies on the owner's stack")]
        // SAFETY: this piece was open, so the job is set and its owner waits for `done`.
        let done = catch_unwind(AssertUnwindSafe(|| unsafe {
            if let Some(job) = *self.job.get() {
                serial(|| (*job)(piece));
            }
        }));
        if let Err(panic) = done {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
            self.skip_rest();
        }
        self.done.fetch_add(1, Ordering::Release);
    }

    /// Counts the pieces that nobody has taken as done. Called while the job is not done alone.
    fn skip_rest(&self) {
        let mut open = self.open.load(Ordering::Acquire);
        loop {
            let (next, pieces) = (open >> 32, open & u64::from(u32::MAX));
            match self.open.compare_exchange_weak(open, pieces << 32 | pieces, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    self.done.fetch_add((pieces - next) as usize, Ordering::Release);
                    return;
                }
                Err(now) => open = now,
            }
        }
    }
}

/// Waits a few nanoseconds; whoever has waited long lets others run.
fn pause(spins: &mut u32) {
    *spins = spins.wrapping_add(1);
    if spins.is_multiple_of(1024) {
        thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    #[test]
    fn every_piece_is_done_once() {
        for threads in [1, 2, 5] {
            pool(threads).install(|| {
                for pieces in [0, 1, 2, 7, 1000] {
                    let counts: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
                    each(pieces, &|i| {
                        counts[i].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
                }
            });
        }
    }

    #[test]
    fn many_rounds_lose_nothing() {
        pool(3).install(|| {
            for round in 0..5000_usize {
                let mut out = vec![0_usize; 37];
                parts(&mut out, 5, &|i, part| part.fill(i + round));
                assert!(out.iter().enumerate().all(|(at, v)| *v == at / 5 + round));
            }
        });
    }

    #[test]
    fn leaders_beside_each_other_and_pieces_within_pieces() {
        let pool = pool(3);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    pool.install(|| {
                        for _ in 0..200 {
                            let total = AtomicUsize::new(0);
                            each(8, &|_| {
                                each(8, &|i| {
                                    total.fetch_add(i, Ordering::Relaxed);
                                });
                            });
                            assert_eq!(total.load(Ordering::Relaxed), 8 * 28);
                        }
                    });
                });
            }
        });
    }

    #[test]
    fn helpers_come_back_while_long_pieces_are_open() {
        pool(2).install(|| {
            let (owner, helped) = (thread::current().id(), AtomicUsize::new(0));
            each(10, &|_| {
                // Longer than a helper's term.
                thread::sleep(TERM + TERM / 2);
                if thread::current().id() != owner {
                    helped.fetch_add(1, Ordering::Relaxed);
                }
            });
            assert!(helped.load(Ordering::Relaxed) >= 2, "one helper did more than one piece");
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_lives_on() {
        pool(2).install(|| {
            let failed = catch_unwind(|| each(64, &|i| assert!(i != 40, "piece forty")));
            assert!(failed.is_err());
            let sum = AtomicUsize::new(0);
            each(64, &|i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
            assert_eq!(sum.load(Ordering::Relaxed), 63 * 32);
        });
    }

    #[test]
    fn what_is_stopped_ends_early() {
        for threads in [1, 2] {
            let (stop, count) = (Arc::new(AtomicBool::new(false)), AtomicUsize::new(0));
            pool(threads).install(|| {
                until(&stop, || {
                    each(1_000_000, &|_| {
                        if count.fetch_add(1, Ordering::Relaxed) == 100 {
                            stop.store(true, Ordering::Relaxed);
                        }
                        thread::sleep(Duration::from_micros(1));
                    });
                    assert!(is_stopped());
                });
                assert!(!is_stopped());
            });
            assert!(count.load(Ordering::Relaxed) < 100_000);
        }
    }

    #[test]
    fn items_are_given_away_once() {
        let (mut a, mut b) = (vec![0; 10], vec![0; 5]);
        pool(2).install(|| {
            tasks(a.chunks_mut(4).zip(b.chunks_mut(2)), &|i, (a, b)| {
                a.fill(i);
                b.fill(10 * i);
            });
        });
        assert_eq!(a, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]);
        assert_eq!(b, [0, 0, 10, 10, 20]);
    }
}
