//! Work spread over the machine's cores.

use std::panic::resume_unwind;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The tasks not yet done and what became of them.
struct State<T, E> {
    stack: Vec<T>,
    running: usize,
    error: Option<E>,
}

/// A stack of tasks shared by the workers. The newest task is done first, so a
/// tree is walked depth first and the stack stays small.
pub(crate) struct Tasks<T, E> {
    state: Mutex<State<T, E>>,
    changed: Condvar,
}

impl<T, E> Tasks<T, E> {
    fn lock(&self) -> MutexGuard<'_, State<T, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a task.
    pub(crate) fn push(&self, task: T) {
        self.lock().stack.push(task);
        self.changed.notify_one();
    }

    /// The next task; `None` when all is done or something failed.
    fn next(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.error.is_some() {
                return None;
            }
            if let Some(task) = state.stack.pop() {
                state.running += 1;
                return Some(task);
            }
            if state.running == 0 {
                return None;
            }
            let woken = self.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, result: Result<(), E>) {
        let mut state = self.lock();
        state.running -= 1;
        if let Err(e) = result {
            state.error.get_or_insert(e);
        }
        if state.error.is_some() || state.running == 0 {
            self.changed.notify_all();
        }
    }
}

/// How many threads do the work: one for each core, at most eight.
pub(crate) fn threads() -> usize {
    let cores = std::thread::available_parallelism();
    cores.map_or(1, |n| n.get().min(8))
}

/// Does `first` and all tasks that the work itself pushes, on all cores. Stops at
/// the first error and returns it. `start` makes what a thread keeps from task
/// to task: its buffers.
pub(crate) fn work_through<T: Send, E: Send, B>(
    first: Vec<T>,
    start: impl Fn() -> B + Sync,
    work: impl Fn(T, &mut B, &Tasks<T, E>) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let tasks = Tasks {
        state: Mutex::new(State {
            stack: first,
            running: 0,
            error: None,
        }),
        changed: Condvar::new(),
    };
    let run = || {
        let mut buffers = start();
        while let Some(task) = tasks.next() {
            let result = work(task, &mut buffers, &tasks);
            tasks.done(result);
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads()).map(|_| scope.spawn(run)).collect();
        run();
        for other in others {
            if let Err(panic) = other.join() {
                resume_unwind(panic);
            }
        }
    });
    let state = tasks.state.into_inner();
    match state.unwrap_or_else(PoisonError::into_inner).error {
        Some(e) => Err(e),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn all_pushed_tasks_are_done() {
        let sum = AtomicU64::new(0);
        let done: Result<(), ()> = work_through(
            vec![12u64],
            || (),
            |n, (), tasks| {
                sum.fetch_add(1, Ordering::Relaxed);
                (0..n.min(2)).for_each(|_| tasks.push(n - 1));
                Ok(())
            },
        );
        assert_eq!(done, Ok(()));
        // Two tasks from each above 1, one from each 1.
        assert_eq!(sum.into_inner(), (1 << 12) - 1 + (1 << 11));
    }

    #[test]
    fn the_first_error_ends_it() {
        let done = work_through(
            (0..1000).collect(),
            || (),
            |n, (), _| match n {
                990 => Err("boom"),
                n if n < 500 => panic!("task {n} came after the error"),
                _ => Ok(()),
            },
        );
        assert_eq!(done, Err("boom"));
    }
}
