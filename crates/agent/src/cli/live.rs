//! The live line of `systrail run`: rate, totals, losses, on one line of the terminal.

use std::time::Instant;

use systrail::account::Account;
use systrail::quantity::show_count;

use super::console;

/// The line, and what it needs to tell a rate.
#[derive(Debug)]
pub(super) struct LiveLine {
    at: Instant,
    /// What was delivered by then; the snapshot came before the first look, at no rate.
    delivered: Option<u64>,
    /// Events a second, smoothed over about a second so that it can be read.
    rate: f64,
}

impl LiveLine {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            at: now,
            delivered: None,
            rate: 0.0,
        }
    }

    pub(super) fn draw(&mut self, account: &Account, now: Instant) {
        let kinds = account.kinds.by_kind();
        let delivered: u64 = kinds.clone().map(|(_, count)| count.delivered).sum();
        let lost: u64 = kinds.map(|(_, count)| count.lost).sum();
        let unwritten: u64 = account.sinks.iter().map(|sink| sink.lost).sum();
        self.measure(delivered, now);
        let (rate, events) = (self.rate, show_count(delivered, "event"));
        let mut text = format!("{rate:.0} events/s  {events}  {lost} lost");
        if unwritten > 0 {
            text = format!("{text}  {unwritten} not written");
        }
        console::live_line(&text);
    }

    fn measure(&mut self, delivered: u64, now: Instant) {
        let seconds = now.duration_since(self.at).as_secs_f64();
        if let Some(before) = self.delivered
            && seconds > 0.0
        {
            let events = u32::try_from(delivered.saturating_sub(before)).unwrap_or(u32::MAX);
            self.rate += (f64::from(events) / seconds - self.rate) * seconds.min(1.0);
        }
        self.delivered = Some(delivered);
        self.at = now;
    }
}
