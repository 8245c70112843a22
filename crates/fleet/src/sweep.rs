//! Asking many hosts the same at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Does `ask` for each of `items`, at most `at_once` at a time, and hands over the
/// answers in the order of the items, each as soon as those before it are there.
pub fn sweep<T: Sync, A: Send>(
    items: &[T],
    at_once: usize,
    ask: impl Fn(usize, &T) -> A + Sync,
    mut answer: impl FnMut(usize, A) + Send,
) {
    let next = AtomicUsize::new(0);
    let waiting: Mutex<(usize, Vec<Option<A>>, &mut (dyn FnMut(usize, A) + Send))> =
        Mutex::new((0, items.iter().map(|_| None).collect(), &mut answer));
    let work = || {
        while let Some((at, item)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            items.get(at).map(|item| (at, item))
        } {
            let came = ask(at, item);
            let mut waiting = waiting.lock().unwrap_or_else(|e| e.into_inner());
            let (told, answers, answer) = &mut *waiting;
            answers[at] = Some(came);
            while let Some(came) = answers.get_mut(*told).and_then(Option::take) {
                answer(*told, came);
                *told += 1;
            }
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
