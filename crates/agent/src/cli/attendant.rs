//! What happens beside a recording: the live line, the watchdog's pings, the end of `--duration`.
//!
//! One thread for all of it, and none where there is nothing to do: an idle recording must not wake
//! the machine up.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use systrail::pipeline::Status;
use systrail::sys::wake::Waker;

use super::console::{self, say};
use super::live::LiveLine;
use super::service_manager;

/// The live line is redrawn this often.
const LIVE_INTERVAL: Duration = Duration::from_millis(250);

/// What there is to do.
#[derive(Debug)]
pub(super) struct Duties {
    duration: Option<Duration>,
    is_live: bool,
    /// Half of what the service manager waits for a ping.
    ping_interval: Option<Duration>,
}

impl Duties {
    /// Duties of a recording that begins now.
    pub(super) fn new(duration: Option<Duration>, is_live: bool) -> Self {
        Self {
            duration,
            is_live,
            ping_interval: service_manager::ping_interval(),
        }
    }

    const fn is_empty(&self) -> bool {
        self.duration.is_none() && !self.is_live && self.ping_interval.is_none()
    }
}

/// The thread; dropping it ends it.
#[derive(Debug)]
pub(super) struct Attendant {
    /// Closed to end the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Attendant {
    /// Starts the thread where there is something to do. A recording nobody could end in time ends
    /// at once when the system has no thread to give.
    pub(super) fn start(duties: Duties, status: &Arc<Status>, waker: &Waker) -> Option<Self> {
        if duties.is_empty() {
            return None;
        }
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let (own_status, own_waker) = (Arc::clone(status), waker.clone());
        let must_end = duties.duration.is_some();
        let thread = systrail::sys::thread::named("attendant")
            .spawn(move || attend(&duties, &own_status, &own_waker, &stopped));
        match thread {
            Ok(thread) => Some(Self {
                stop: Some(stop),
                thread: Some(thread),
            }),
            Err(error) => {
                say!("no live line and no watchdog: starting the attendant thread: {error}");
                if must_end {
                    waker.wake();
                }
                None
            }
        }
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there aborts the process, so there is nothing else it can say.
            let _ended = thread.join();
        }
    }
}

fn attend(duties: &Duties, status: &Status, waker: &Waker, stopped: &Receiver<()>) {
    let now = Instant::now();
    let mut end = duties
        .duration
        .and_then(|duration| now.checked_add(duration));
    let mut ping = duties
        .ping_interval
        .map(|interval| Pings::new(interval, now));
    let mut live = duties.is_live.then(|| (now, LiveLine::new(now)));
    loop {
        let ping_at = ping.as_ref().map(|ping| ping.at);
        let live_at = live.as_ref().map(|&(at, _)| at);
        let stop = match [end, ping_at, live_at].into_iter().flatten().min() {
            Some(next) => stopped.recv_deadline(next),
            None => stopped.recv().map_err(RecvTimeoutError::from),
        };
        if stop != Err(RecvTimeoutError::Timeout) {
            break;
        }
        let now = Instant::now();
        if end.is_some_and(|at| at <= now) {
            end = None;
            waker.wake();
        }
        if let Some(ping) = ping.as_mut().filter(|ping| ping.at <= now) {
            ping.send(status.progress_count(), now);
        }
        if let Some((at, line)) = live.as_mut().filter(|(at, _)| *at <= now) {
            *at = now + LIVE_INTERVAL;
            line.draw(&status.account(), now);
        }
    }
    if live.is_some() {
        console::live_line("");
    }
}

/// The watchdog's pings: sent only while the recording makes progress, because one that stands
/// still is what the watchdog is there to find.
#[derive(Debug)]
struct Pings {
    interval: Duration,
    at: Instant,
    progress: Option<u64>,
}

impl Pings {
    fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            at: now + interval,
            progress: None,
        }
    }

    fn send(&mut self, progress: u64, now: Instant) {
        self.at = now + self.interval;
        if self.progress.replace(progress) != Some(progress) {
            service_manager::ping();
        }
    }
}
