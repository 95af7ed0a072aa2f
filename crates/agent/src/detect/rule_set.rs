//! The rules of a directory, ready to be tried: what fits what is recorded here, compiled, and what was
//! refused or cannot fire, with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rsigma_eval::{CompiledRule, Engine, compile_rule};
use rsigma_parser::{ConditionExpr, LogSource, SigmaRule, parse_sigma_yaml};

use super::Level;
use super::can_fire::{Ability, ability};
use super::folder::{FolderError, RuleFile};
use super::loading;
use super::rewrite::rewrite;
use super::taxonomy::{SOURCES, Source, System};
use crate::trail::{Detection, Text};

/// The most rules that are tried.
const RULE_COUNT_MAX: usize = 20_000;
/// The most bytes of a title, an author or an id: they stand in every match.
pub(super) const TEXT_SIZE_MAX: usize = 4 << 10;
/// The most tags.
const TAG_COUNT_MAX: usize = 256;

/// A rule, or a file, that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The file.
    pub path: PathBuf,
    /// The rule's title, where it got so far.
    pub title: Option<String>,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.path.display())?;
        if let Some(title) = &self.title {
            write!(formatter, "{title}: ")?;
        }
        // Some reasons are drawings of several lines.
        let reason: Vec<&str> = self.reason.split_whitespace().collect();
        formatter.write_str(&reason.join(" "))
    }
}

/// How the rules of one log source came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sigma's product.
    pub product: &'static str,
    /// Sigma's category.
    pub category: &'static str,
    /// Rules that can fire here.
    pub able_count: usize,
    /// Of those, rules that ask for a field more that is not told: a part of them never holds.
    pub partly_count: usize,
    /// Rules that cannot.
    pub unable_count: usize,
    /// The fields that are not told, each with how many rules cannot fire and ask for it.
    pub missing: BTreeMap<String, usize>,
    /// Rules below the level that was asked for.
    pub below_count: usize,
    /// Rules that were refused.
    pub refused_count: usize,
}

impl Tally {
    fn append(&mut self, other: Self) {
        self.able_count += other.able_count;
        self.partly_count += other.partly_count;
        self.unable_count += other.unable_count;
        self.below_count += other.below_count;
        self.refused_count += other.refused_count;
        for (field, count) in other.missing {
            *self.missing.entry(field).or_default() += count;
        }
    }
}

/// The rules of one log source.
pub(super) struct Engines {
    /// Those that say the same of a program each time.
    pub(super) steady: Engine,
    /// The columns that those look at.
    pub(super) steady_columns: Vec<usize>,
    /// The others.
    pub(super) varying: Engine,
}

/// What was loaded of a directory.
pub struct RuleSet {
    pub(super) engines: Vec<Engines>,
    /// Of each rule a match without the sequence; the number of a rule is its place.
    pub(super) rules: Vec<Detection>,
    tallies: Vec<Tally>,
    refused: Vec<Refused>,
    remarks: Vec<Refused>,
    elsewhere_count: usize,
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rule_set = formatter.debug_struct("RuleSet");
        rule_set.field("tallies", &self.tallies);
        rule_set.finish_non_exhaustive()
    }
}

impl RuleSet {
    /// Loads the rules below `path` that are of `level` or worse.
    ///
    /// # Errors
    /// Where there is nothing to read. What is wrong with a rule is no error: it is [refused](Self::refused).
    pub fn load(path: &Path, level: Level) -> Result<Self, FolderError> {
        loading::load(path, Loader::new(level, None))
    }

    /// Loads those that can fire on what is recorded here: rules for other systems are many and take their
    /// time.
    ///
    /// # Errors
    /// As of [`load`](Self::load).
    pub fn load_for_here(path: &Path, level: Level) -> Result<Self, FolderError> {
        loading::load(path, Loader::new(level, Some(System::HERE)))
    }

    /// How many rules are tried.
    pub fn rule_count(&self) -> usize {
        let engines = self.engines.iter();
        engines
            .map(|engines| engines.steady.rule_count() + engines.varying.rule_count())
            .sum()
    }

    /// How each log source came out.
    pub fn tallies(&self) -> &[Tally] {
        &self.tallies
    }

    /// What was not taken.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// What is odd about rules that were taken all the same.
    pub fn remarks(&self) -> &[Refused] {
        &self.remarks
    }

    /// How many rules are for log sources that are not recorded here.
    pub const fn elsewhere_count(&self) -> usize {
        self.elsewhere_count
    }

    /// Takes rules out, by their numbers; the others stay as they are.
    pub(super) fn switch_off(&mut self, source: usize, off: &[usize]) {
        let Some(engines) = self.engines.get_mut(source) else {
            return;
        };
        for engine in [&mut engines.steady, &mut engines.varying] {
            let is_kept = |rule: &&CompiledRule| {
                !number_of(rule.id.as_deref()).is_some_and(|number| off.contains(&number))
            };
            let kept: Vec<CompiledRule> = engine.rules().iter().filter(is_kept).cloned().collect();
            *engine = engine_of(kept);
        }
    }
}

/// The number of a compiled rule, which it has in the place of its id.
pub(super) fn number_of(id: Option<&str>) -> Option<usize> {
    id?.parse().ok()
}

/// The same rules, after `before` others.
fn renumbered(rules: Vec<CompiledRule>, before: usize) -> impl Iterator<Item = CompiledRule> {
    rules.into_iter().map(move |mut rule| {
        rule.id = number_of(rule.id.as_deref()).map(|number| (number + before).to_string());
        rule
    })
}

fn engine_of(rules: Vec<CompiledRule>) -> Engine {
    let mut engine = Engine::new();
    engine.extend_compiled_rules(rules);
    engine
}

/// The compiled rules of a log source.
#[derive(Clone, Default)]
struct Compiled {
    steady: Vec<CompiledRule>,
    steady_columns: BTreeSet<usize>,
    varying: Vec<CompiledRule>,
}

/// Rules as they are read, file by file.
#[derive(Clone)]
pub(super) struct Loader {
    level: Level,
    /// Whose rules are taken; those of all for `None`.
    system: Option<System>,
    /// How many rules all who load this directory have taken.
    taken: Arc<AtomicUsize>,
    rules: Vec<Detection>,
    compiled: Vec<Compiled>,
    tallies: Vec<Tally>,
    refused: Vec<Refused>,
    remarks: Vec<Refused>,
    elsewhere_count: usize,
}

impl Loader {
    fn new(level: Level, system: Option<System>) -> Self {
        let tallies = SOURCES.iter().map(|source| Tally {
            product: source.system.name(),
            category: source.category,
            ..Tally::default()
        });
        Self {
            level,
            system,
            taken: Arc::default(),
            rules: Vec::new(),
            compiled: SOURCES.iter().map(|_| Compiled::default()).collect(),
            tallies: tallies.collect(),
            refused: Vec::new(),
            remarks: Vec::new(),
            elsewhere_count: 0,
        }
    }

    /// Takes a file.
    pub(super) fn take(&mut self, (path, text): RuleFile) {
        match text {
            Ok(text) => self.file(&path, &text),
            Err(reason) => self.refuse(&path, None, reason),
        }
    }

    /// Appends what another one read of the same directory.
    pub(super) fn append(&mut self, other: Self) {
        let before = self.rules.len();
        for (own, other) in self.compiled.iter_mut().zip(other.compiled) {
            own.steady.extend(renumbered(other.steady, before));
            own.varying.extend(renumbered(other.varying, before));
            own.steady_columns.extend(other.steady_columns);
        }
        for (own, other) in self.tallies.iter_mut().zip(other.tallies) {
            own.append(other);
        }
        self.rules.extend(other.rules);
        self.refused.extend(other.refused);
        self.remarks.extend(other.remarks);
        self.elsewhere_count += other.elsewhere_count;
    }

    fn refuse(&mut self, path: &Path, title: Option<&str>, reason: impl Into<String>) {
        self.refused.push(Refused {
            path: path.to_path_buf(),
            title: title.map(str::to_owned),
            reason: reason.into(),
        });
    }

    fn file(&mut self, path: &Path, text: &str) {
        let parsed = match parse_sigma_yaml(text) {
            Ok(parsed) => parsed,
            Err(error) => return self.refuse(path, None, error.to_string()),
        };
        for error in parsed.errors {
            // These the parser leaves out of a rule, which it takes.
            let is_remark = ["invalid ", "related[", "'related' "];
            if is_remark.iter().any(|begin| error.starts_with(begin)) {
                self.remarks.push(Refused {
                    path: path.to_path_buf(),
                    title: None,
                    reason: error,
                });
            } else {
                self.refuse(path, None, error);
            }
        }
        for correlation in parsed.correlations {
            let reason = "a correlation of several events; each rule here is of one";
            self.refuse(path, Some(&correlation.title), reason);
        }
        for filter in parsed.filters {
            let reason = "a filter of other rules, which is not known here";
            self.refuse(path, Some(&filter.title), reason);
        }
        for rule in &parsed.rules {
            self.rule(path, rule);
        }
    }

    fn rule(&mut self, path: &Path, rule: &SigmaRule) {
        let sources: Vec<usize> = (0..SOURCES.len())
            .filter(|index| is_of(&rule.logsource, &SOURCES[*index]))
            .filter(|index| self.system.is_none_or(|it| it == SOURCES[*index].system))
            .collect();
        if sources.is_empty() {
            self.elsewhere_count += 1;
            return;
        }
        let level = rule.level.map_or(Level::Medium, level_of);
        if level < self.level {
            for source in sources {
                self.tallies[source].below_count += 1;
            }
            return;
        }
        let mut reasons = BTreeSet::new();
        if let Err(reason) = self.check(rule) {
            for source in &sources {
                self.tallies[*source].refused_count += 1;
            }
            return self.refuse(path, Some(&rule.title), reason);
        }
        for source in sources {
            if let Err(reason) = self.add(rule, level, source) {
                self.tallies[source].refused_count += 1;
                reasons.insert(reason);
            }
        }
        for reason in reasons {
            self.refuse(path, Some(&rule.title), reason);
        }
    }

    /// What no engine looks at.
    fn check(&self, rule: &SigmaRule) -> Result<(), String> {
        if self.taken.load(Ordering::Relaxed) >= RULE_COUNT_MAX {
            return Err(format!("{RULE_COUNT_MAX} rules are tried and no more"));
        }
        let texts = [Some(&rule.title), rule.id.as_ref(), rule.author.as_ref()];
        let longest = texts
            .into_iter()
            .flatten()
            .chain(&rule.tags)
            .map(String::len);
        if longest.max() > Some(TEXT_SIZE_MAX) || rule.tags.len() > TAG_COUNT_MAX {
            return Err(format!(
                "its title, author, id and tags stand in every match and must not have more than \
                 {TEXT_SIZE_MAX} bytes each, nor be more than {TAG_COUNT_MAX} tags"
            ));
        }
        if rule.detection.conditions.is_empty() {
            return Err("no condition".to_owned());
        }
        let conditions = rule.detection.conditions.iter();
        let mut empty = conditions.filter_map(|condition| empty_selector(condition, rule));
        match empty.next() {
            Some(pattern) => Err(format!(
                "the condition asks for `{pattern}`, and no selection is called so"
            )),
            None => Ok(()),
        }
    }

    fn add(&mut self, rule: &SigmaRule, level: Level, source: usize) -> Result<(), String> {
        let Ability {
            can_fire,
            missing,
            columns,
            has_keywords,
        } = ability(rule, &SOURCES[source]);
        let compiled = self.compile(rule, source)?;
        let tally = &mut self.tallies[source];
        if !can_fire {
            tally.unable_count += 1;
            for field in missing {
                *tally.missing.entry(field).or_default() += 1;
            }
            return Ok(());
        }
        tally.able_count += 1;
        tally.partly_count += usize::from(!missing.is_empty());
        let all = &SOURCES[source].columns;
        let is_steady =
            !has_keywords && columns.iter().all(|column| !all[*column].is_of_one_process);
        let of_source = &mut self.compiled[source];
        if is_steady {
            of_source.steady.push(compiled);
            of_source.steady_columns.extend(columns);
        } else {
            of_source.varying.push(compiled);
        }
        self.rules.push(template(rule, level));
        self.taken.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The rule for the engine, without what only people read; its id there is its number.
    fn compile(&self, rule: &SigmaRule, source: usize) -> Result<CompiledRule, String> {
        let mut own = rule.clone();
        own.id = Some(self.rules.len().to_string());
        own.title.clear();
        own.description = None;
        own.tags.clear();
        own.falsepositives.clear();
        own.references.clear();
        own.custom_attributes.clear();
        rewrite(&mut own, &SOURCES[source])?;
        compile_rule(&own).map_err(|error| error.to_string())
    }

    /// Builds the indexes; those over the two sorts of rules side by side.
    pub(super) fn finish(self) -> RuleSet {
        let engines = self.compiled.into_iter().map(|compiled| {
            let [steady, varying] =
                loading::side_by_side([compiled.steady, compiled.varying], engine_of);
            Engines {
                steady,
                steady_columns: compiled.steady_columns.into_iter().collect(),
                varying,
            }
        });
        RuleSet {
            engines: engines.collect(),
            rules: self.rules,
            tallies: self.tallies,
            refused: self.refused,
            remarks: self.remarks,
            elsewhere_count: self.elsewhere_count,
        }
    }
}

/// Whether rules of `logsource` are tried on `source`: all that a rule names has to fit. Ours name no
/// service.
fn is_of(logsource: &LogSource, source: &Source) -> bool {
    let is_product = match &logsource.product {
        Some(product) => product == source.system.name(),
        None => true,
    };
    is_product
        && logsource.category.as_deref() == Some(source.category)
        && logsource.service.is_none()
        && logsource.custom.is_empty()
}

const fn level_of(level: rsigma_parser::Level) -> Level {
    match level {
        rsigma_parser::Level::Informational => Level::Informational,
        rsigma_parser::Level::Low => Level::Low,
        rsigma_parser::Level::Medium => Level::Medium,
        rsigma_parser::Level::High => Level::High,
        rsigma_parser::Level::Critical => Level::Critical,
    }
}

/// A match of the rule, without the sequence.
fn template(rule: &SigmaRule, level: Level) -> Detection {
    let shared = |text: &String| Arc::from(text.as_str());
    let tags: Vec<Text> = rule
        .tags
        .iter()
        .map(|tag| Text::from(tag.as_str()))
        .collect();
    Detection {
        matched_sequence: 0,
        rule_id: rule.id.as_ref().map(shared),
        rule_title: shared(&rule.title),
        rule_level: level.name().into(),
        rule_author: rule.author.as_ref().map(shared),
        rule_tags: (!tags.is_empty()).then(|| tags.into()),
    }
}

/// The first `1 of pattern` that no selection is meant by: the engine would take `all of` it for true.
fn empty_selector(condition: &ConditionExpr, rule: &SigmaRule) -> Option<String> {
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter().find_map(|part| empty_selector(part, rule))
        }
        ConditionExpr::Not(part) => empty_selector(part, rule),
        ConditionExpr::Identifier(_) => None,
        ConditionExpr::Selector { pattern, .. } => {
            let mut names = rule.detection.named.keys();
            let is_meant = names.any(|name| pattern.matches_detection_name(name));
            (!is_meant).then(|| pattern.to_string())
        }
    }
}
