//! Asking many hosts the same at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Answers that wait for those before them.
struct Waiting<A, F> {
    told: usize,
    answers: Vec<Option<A>>,
    tell: F,
}

impl<A, F: FnMut(usize, A)> Waiting<A, F> {
    fn add(&mut self, at: usize, answer: A) {
        self.answers[at] = Some(answer);
        while let Some(next) = self.answers.get_mut(self.told).and_then(Option::take) {
            (self.tell)(self.told, next);
            self.told += 1;
        }
    }
}

/// Does `ask` for each of `items`, at most `at_once` at a time, and hands over the
/// answers in the order of the items, each as soon as those before it are there.
pub fn sweep<T: Sync, A: Send>(
    items: &[T],
    at_once: usize,
    ask: impl Fn(usize, &T) -> A + Sync,
    tell: impl FnMut(usize, A) + Send,
) {
    let next = AtomicUsize::new(0);
    let waiting = Mutex::new(Waiting {
        told: 0,
        answers: items.iter().map(|_| None).collect(),
        tell,
    });
    let work = || {
        while let Some((at, item)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            items.get(at).map(|item| (at, item))
        } {
            let answer = ask(at, item);
            let mut waiting = waiting.lock().unwrap_or_else(|e| e.into_inner());
            waiting.add(at, answer);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..at_once.clamp(1, items.len().max(1)) {
            scope.spawn(work);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_order() {
        let items: Vec<u64> = (0..30).rev().collect();
        for at_once in [1, 4, 100] {
            let mut seen = Vec::new();
            let ask = |_: usize, n: &u64| {
                std::thread::sleep(std::time::Duration::from_micros(n * 20));
                n * 2
            };
            sweep(&items, at_once, ask, |at, n| seen.push((at, n)));
            let expected: Vec<_> = items.iter().map(|n| n * 2).enumerate().collect();
            assert_eq!(seen, expected);
        }
        sweep(&[], 3, |_, (): &()| (), |_, ()| unreachable!());
    }
}
