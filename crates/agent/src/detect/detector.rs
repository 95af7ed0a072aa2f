//! The rules, tried on one event after the other.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rsigma_eval::{Engine, EventValue, evaluate_rule};

use super::rule_set::{RuleSet, number_of};
use super::taxonomy::{SOURCES, System, source_of, system_by_content};
use super::verdicts::Verdicts;
use super::view::View;
use crate::trail::{Body, Detection, Event, Origin};

/// So many bytes of texts are in the budget; an event with more has more time, or whoever starts a program
/// with a long command line could have rules switched off.
const BUDGET_SIZE: usize = 4 << 10;

/// A rule is timed this often, and its best time counts: a machine has other things to do meanwhile.
const TIMED_COUNT: usize = 3;

/// Rules are timed once in so long at most.
const TIMED_INTERVAL: Duration = Duration::from_secs(1);

/// Runs whose system is remembered; then all are forgotten.
const RUNS_MAX: usize = 4_096;

/// Tries rules on events.
#[derive(Debug)]
pub struct Detector {
    rule_set: RuleSet,
    verdicts: Vec<Verdicts>,
    systems: Systems,
    budget: Duration,
    /// When rules were timed last.
    timed: Option<Instant>,
    off_count: u64,
    /// The numbers of the rules that match the event at hand.
    matched: Vec<usize>,
}

impl Detector {
    /// A detector with these rules, which may take `budget` for an event.
    pub fn new(rule_set: RuleSet, budget: Duration) -> Self {
        Self {
            verdicts: SOURCES.iter().map(|_| Verdicts::default()).collect(),
            rule_set,
            systems: Systems::default(),
            budget,
            timed: None,
            off_count: 0,
            matched: Vec::new(),
        }
    }

    /// Tries other rules from now on, and hands back those before.
    pub fn replace(&mut self, rule_set: RuleSet) -> RuleSet {
        self.timed = None;
        self.verdicts.iter_mut().for_each(Verdicts::forget);
        mem::replace(&mut self.rule_set, rule_set)
    }

    /// The rules.
    pub const fn rule_set(&self) -> &RuleSet {
        &self.rule_set
    }

    /// How many rules were switched off because they took too long.
    pub const fn off_count(&self) -> u64 {
        self.off_count
    }

    /// Appends a match for each rule that `event` fulfils, in the order the rules were read.
    pub fn look(&mut self, event: &Event, found: &mut Vec<Detection>) {
        let Some(source) = self.source(event) else {
            return;
        };
        let view = View {
            event,
            columns: SOURCES[source].columns,
        };
        let began = Instant::now();
        self.evaluate(source, &view);
        if began.elapsed() > self.budget {
            self.look_into(source, &view);
        }
        self.matched.sort_unstable();
        for number in &self.matched {
            if let Some(rule) = self.rule_set.rules.get(*number) {
                found.push(Detection {
                    matched_sequence: event.sequence,
                    ..rule.clone()
                });
            }
        }
    }

    /// The log source of an event; `None` where no rule is about such.
    fn source(&mut self, event: &Event) -> Option<usize> {
        if let Body::SensorStart(start) = &event.body {
            let system = start.system.as_deref();
            self.systems.learn(&event.origin, system);
            return None;
        }
        let system = self.systems.of(event)?;
        let source = source_of(event, system)?;
        let engines = self.rule_set.engines.get(source)?;
        let has_rules = engines.steady.rule_count() + engines.varying.rule_count() > 0;
        has_rules.then_some(source)
    }

    fn evaluate(&mut self, source: usize, view: &View<'_>) {
        let engines = &self.rule_set.engines[source];
        let verdicts = &mut self.verdicts[source];
        let matched = &mut self.matched;
        matched.clear();
        if engines.steady.rule_count() > 0 {
            if let Some(verdict) = verdicts.of(view, &engines.steady_columns) {
                matched.extend_from_slice(verdict);
            } else {
                evaluate(&engines.steady, view, matched);
                verdicts.remember(matched);
            }
        }
        if engines.varying.rule_count() > 0 {
            evaluate(&engines.varying, view, matched);
        }
    }

    /// Times each rule by itself, and switches off those that take the whole budget.
    #[cold]
    fn look_into(&mut self, source: usize, view: &View<'_>) {
        let now = Instant::now();
        let is_due = |timed: Instant| now.duration_since(timed) >= TIMED_INTERVAL;
        if !self.timed.is_none_or(is_due) {
            return;
        }
        let budget = self.budget.saturating_mul(shares(view));
        let engines = &self.rule_set.engines[source];
        let rules = engines.steady.rules().iter();
        let slow: Vec<usize> = rules
            .chain(engines.varying.rules())
            .filter(|rule| {
                let times = (0..TIMED_COUNT).map(|_| {
                    let began = Instant::now();
                    let _verdict = evaluate_rule(rule, view);
                    began.elapsed()
                });
                times.min() > Some(budget)
            })
            .filter_map(|rule| number_of(rule.id.as_deref()))
            .collect();
        self.timed = Some(Instant::now());
        for number in &slow {
            let title = self.rule_set.rules.get(*number);
            let title = title.map_or("", |rule| &*rule.rule_title);
            tracing::warn!(
                "a rule takes longer than {budget:?} for an event and is switched off: {title}; \
                 make it simpler, or raise detect.budget"
            );
        }
        if !slow.is_empty() {
            self.off_count += slow.len() as u64;
            self.rule_set.switch_off(source, &slow);
            self.verdicts[source].forget();
        }
    }
}

fn evaluate(engine: &Engine, view: &View<'_>, matched: &mut Vec<usize>) {
    let results = engine.evaluate(view);
    let numbers = results
        .iter()
        .filter_map(|result| number_of(result.header.rule_id.as_deref()));
    matched.extend(numbers);
}

/// How many budgets an event has, by its size.
fn shares(view: &View<'_>) -> u32 {
    let values = view.columns.iter();
    let values = values.filter_map(|column| (column.read)(view.event));
    let sizes = values.map(|value| match value {
        EventValue::Str(text) => text.len(),
        _ => 0,
    });
    u32::try_from(1 + sizes.sum::<usize>() / BUDGET_SIZE).unwrap_or(u32::MAX)
}

/// What the beginning of a run says of the system.
#[derive(Clone, Copy, Debug)]
enum Said {
    System(System),
    /// One that there are no rules for.
    Other,
}

/// Which system each run was recorded on: what its beginning says, or where that is not in the log, what
/// an event says itself.
#[derive(Debug, Default)]
struct Systems {
    said: HashMap<(Arc<str>, Option<u64>), Said>,
    /// The run that was asked about last.
    last: Option<(Arc<Origin>, Option<Said>)>,
}

impl Systems {
    fn learn(&mut self, origin: &Arc<Origin>, system: Option<&str>) {
        let Some(system) = system else {
            return;
        };
        if self.said.len() >= RUNS_MAX {
            self.said.clear();
        }
        let run = (Arc::clone(&origin.host), origin.run);
        let said = System::from_name(system).map_or(Said::Other, Said::System);
        self.said.insert(run, said);
        self.last = None;
    }

    fn of(&mut self, event: &Event) -> Option<System> {
        let origin = &event.origin;
        let is_last = |last: &Arc<Origin>| Arc::ptr_eq(last, origin) || last == origin;
        let said = match &self.last {
            Some((last, said)) if is_last(last) => *said,
            _ => {
                let run = (Arc::clone(&origin.host), origin.run);
                let said = self.said.get(&run).copied();
                self.last = Some((Arc::clone(origin), said));
                said
            }
        };
        match said {
            Some(Said::System(system)) => Some(system),
            Some(Said::Other) => None,
            None => system_by_content(event),
        }
    }
}
