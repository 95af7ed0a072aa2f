//! Looks at many things one by one, each of which may never answer: a process whose memory comes from
//! a share that hangs, or on Wine any process that is stopped, for there the process itself answers.
//! A recording must begin all the same.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// The most things that are waited for in vain. Each keeps a thread until it answers.
pub(super) const SILENT_MAX: usize = 4;

/// What `look_fn` makes of each of `items`, in their order; `None` for one that has not answered within
/// `time_max`, and for all that come after [`SILENT_MAX`] of those.
pub(super) fn look_at<T, R>(
    items: &Arc<Vec<T>>,
    look_fn: fn(&T) -> R,
    time_max: Duration,
) -> io::Result<Vec<Option<R>>>
where
    T: Send + Sync + 'static,
    R: Send + 'static,
{
    let mut looks = Vec::with_capacity(items.len());
    for _ in 0..SILENT_MAX {
        if looks.len() == items.len() {
            break;
        }
        let answers = start(items, look_fn, looks.len())?;
        while looks.len() < items.len() {
            match answers.recv_timeout(time_max) {
                Ok(look) => looks.push(Some(look)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    looks.push(None);
                    break;
                }
            }
        }
    }
    looks.resize_with(items.len(), || None);
    Ok(looks)
}

/// Looks at everything from the `first` on, on a thread of its own, which ends when nobody wants to
/// know any more.
fn start<T, R>(items: &Arc<Vec<T>>, look_fn: fn(&T) -> R, first: usize) -> io::Result<Receiver<R>>
where
    T: Send + Sync + 'static,
    R: Send + 'static,
{
    let (sender, answers) = channel();
    let items = Arc::clone(items);
    let look_fn = move || {
        let mut looks = items.iter().skip(first).map(look_fn);
        while looks.next().is_some_and(|look| sender.send(look).is_ok()) {}
    };
    crate::sys::thread::named("snapshot").spawn(look_fn)?;
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Held by whoever must not be answered.
    static SILENCE: Mutex<()> = Mutex::new(());

    /// Ten times `number`; an odd one does not answer while [`SILENCE`] is held.
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "an item is looked at where it is"
    )]
    fn look(number: &usize) -> usize {
        if number % 2 == 1 {
            drop(SILENCE.lock());
        }
        number * 10
    }

    fn looks(numbers: &[usize], time_max: Duration) -> Vec<Option<usize>> {
        look_at(&Arc::new(numbers.to_vec()), look, time_max).unwrap()
    }

    #[test]
    fn everything_is_looked_at_in_order() {
        let time_max = Duration::from_mins(1);
        assert_eq!(looks(&[0, 4, 2], time_max), [Some(0), Some(40), Some(20)]);
        assert_eq!(looks(&[], time_max), []);
    }

    #[test]
    fn what_does_not_answer_is_passed_over_and_not_too_often() {
        let held = SILENCE.lock().unwrap();
        let answers = looks(&[0, 1, 2], Duration::from_secs(1));
        assert_eq!(answers, [Some(0), None, Some(20)]);
        let silent: Vec<usize> = (0..SILENT_MAX).map(|number| 2 * number + 1).collect();
        let answers = looks(&[&silent[..], &[2]].concat(), Duration::from_millis(1));
        assert_eq!(answers, [None; SILENT_MAX + 1]);
        drop(held);
    }
}
