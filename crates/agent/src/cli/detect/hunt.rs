//! Rules on what was recorded.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;
use systrail::config::DETECT_BUDGET_DEFAULT;
use systrail::detect::{Detector, Level, RuleSet};
use systrail::quantity::show_count;
use systrail::query::{Format, Output};
use systrail::store::{self, Guard};
use systrail::trail::{Body, Detection, Event, Text, Time};

use super::HuntArguments;
use crate::cli::console::{self, say};
use crate::cli::log::Log;
use crate::cli::options;
use crate::cli::pager::Out;
use crate::cli::{Exit, Failure, passed_over};

/// The most rules that are told one by one as refused.
const TOLD_MAX: usize = 10;

/// The line of progress is redrawn this often, and looked after each so many events.
const DRAW_INTERVAL: Duration = Duration::from_millis(250);
const DRAW_COUNT: u64 = 4_096;

/// Does `systrail detect`.
pub(super) fn main(arguments: &HuntArguments) -> Result<Exit, Failure> {
    arguments.trail.check()?;
    let (path, level) = arguments.rules()?;
    let detector = Detector::new(load(&path, level)?, DETECT_BUDGET_DEFAULT);
    let format = options::named(&arguments.format, &Format::NAMES).unwrap_or(Format::Table);
    let is_table = format == Format::Table;
    let mut out = Out::open(is_table && !arguments.no_pager);
    let mut hunt = Hunt::new(detector, out.rows(format), is_table);
    let looked = if arguments.trail.log.is_some() {
        arguments.look_at_log(&mut hunt)
    } else {
        arguments.look_at_store(&mut hunt)
    };
    match looked {
        Ok(passed_over_count) => {
            hunt.tell();
            arguments.trail.strict.exit(passed_over_count)
        }
        // Whoever closed the pipe, or the pager, has seen enough.
        Err(End::Closed) => Ok(Exit::Done),
        Err(End::Failed(failure)) => Err(failure),
    }
}

/// The rules in a directory. What was refused of them is said.
fn load(path: &Path, level: Level) -> Result<RuleSet, Failure> {
    let rule_set = RuleSet::load(path, level).map_err(Failure::usage)?;
    tell(path, &rule_set);
    Ok(rule_set)
}

/// Says what was loaded, and what was not.
pub(super) fn tell(path: &Path, rule_set: &RuleSet) {
    let refused = rule_set.refused();
    for rule in refused.iter().take(TOLD_MAX) {
        say!("rule passed over: {rule}");
    }
    if refused.len() > TOLD_MAX {
        let rest = show_count(refused.len() - TOLD_MAX, "rule");
        let path = path.display();
        say!("{rest} more passed over; `systrail detect check {path}` names them");
    }
    let tried = show_count(rule_set.rule_count(), "detection rule");
    say!("{tried} from {}", path.display());
}

impl HuntArguments {
    /// The rules that are meant, and their level.
    fn rules(&self) -> Result<(PathBuf, Level), Failure> {
        if let Some(rules) = &self.rules {
            return Ok((rules.clone(), self.level.unwrap_or_default()));
        }
        let Some(configured) = options::load(None)?.detect else {
            return Err(Failure::usage(anyhow::anyhow!(
                "no rules; name a directory of Sigma rules with --rules, or with `[detect] rules` in \
                 the configuration"
            )));
        };
        Ok((configured.rules, self.level.unwrap_or(configured.level)))
    }

    fn look_at_log(&self, hunt: &mut Hunt<'_>) -> Result<u64, End> {
        let Some(path) = &self.trail.log else {
            return Ok(0);
        };
        let mut log = Log::open(path, !io::stdout().is_terminal()).map_err(Failure::from)?;
        let since = self.trail.since.unwrap_or(Time(i64::MIN));
        let until = self.trail.until.unwrap_or(Time(i64::MAX));
        hunt.begin()?;
        for event in log.by_ref() {
            // The begin of a run says which system it is of, whatever time is asked for.
            let is_begin = matches!(event.body, Body::SensorStart(_));
            if is_begin || (event.time >= since && event.time < until) {
                hunt.look(&event)?;
            }
        }
        hunt.end()?;
        log.end().map_err(End::Failed)
    }

    /// A segment that cannot be read does not keep the others back.
    fn look_at_store(&self, hunt: &mut Hunt<'_>) -> Result<u64, End> {
        let (directory, window) = self.trail.store(&Guard::default())?;
        let never_asked = store::never_asked(&directory, &window).map_err(Failure::from)?;
        let mut passed_over_count = passed_over::tell(&never_asked);
        let events = store::events(&directory, &window).map_err(Failure::from)?;
        hunt.draws = io::stderr().is_terminal();
        hunt.begin()?;
        for event in events {
            match event {
                Ok(event) => hunt.look(&event)?,
                Err(error) => {
                    hunt.take_line_away();
                    say!("passed over: {error}");
                    passed_over_count += 1;
                }
            }
        }
        hunt.take_line_away();
        hunt.end()?;
        if hunt.event_count == 0 && passed_over_count == 0 {
            passed_over::tell_nothing(&directory, &window);
        }
        Ok(passed_over_count)
    }
}

/// Why a hunt ended early.
enum End {
    Closed,
    Failed(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(console::named(&error).into()),
        }
    }
}

/// Looks at events and prints what is found.
struct Hunt<'o> {
    detector: Detector,
    output: Output<'o>,
    /// Whether it is for a person, who has no room for everything.
    is_table: bool,
    found: Vec<Detection>,
    rules: BTreeSet<String>,
    event_count: u64,
    match_count: u64,
    draws: bool,
    drawn: Instant,
}

/// What a person is told, and what a program.
const TABLE_COLUMNS: [&str; 7] = [
    "time", "level", "rule", "author", "process", "user", "command",
];
const COLUMNS: [&str; 15] = [
    "time",
    "host",
    "rule_level",
    "rule_title",
    "rule_author",
    "rule_id",
    "rule_tags",
    "matched_sequence",
    "matched_kind",
    "process_id",
    "process_key",
    "user",
    "image",
    "loaded_image",
    "command_line",
];

impl<'o> Hunt<'o> {
    fn new(detector: Detector, output: Output<'o>, is_table: bool) -> Self {
        Self {
            detector,
            output,
            is_table,
            found: Vec::new(),
            rules: BTreeSet::new(),
            event_count: 0,
            match_count: 0,
            draws: false,
            drawn: Instant::now(),
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        let columns: &[&str] = if self.is_table {
            &TABLE_COLUMNS
        } else {
            &COLUMNS
        };
        let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
        self.output.begin(&columns)
    }

    fn look(&mut self, event: &Event) -> io::Result<()> {
        self.event_count += 1;
        self.draw(event);
        let mut found = std::mem::take(&mut self.found);
        self.detector.look(event, &mut found);
        for detection in &found {
            self.take_line_away();
            self.match_count += 1;
            let rule = detection.rule_id.as_ref().unwrap_or(&detection.rule_title);
            if !self.rules.contains(&**rule) {
                self.rules.insert(rule.to_string());
            }
            self.print(event, detection)?;
        }
        found.clear();
        self.found = found;
        Ok(())
    }

    fn print(&mut self, event: &Event, detection: &Detection) -> io::Result<()> {
        let about = About::of(&event.body);
        let time = event.time.to_string();
        let process_id = ValueRef::Integer(event.process_id.into());
        let title = ValueRef::Text(detection.rule_title.as_bytes());
        let level = ValueRef::Text(detection.rule_level.as_bytes());
        let author = optional(detection.rule_author.as_deref());
        if self.is_table {
            let command = about.command_line.or(about.loaded_image).or(about.image);
            return self.output.row(&[
                ValueRef::Text(time.as_bytes()),
                level,
                title,
                author,
                process_id,
                optional(about.user),
                optional(command),
            ]);
        }
        let tags = detection.rule_tags.as_deref().map(json_list).transpose()?;
        let key = event.process_key.to_string();
        self.output.row(&[
            ValueRef::Text(time.as_bytes()),
            ValueRef::Text(event.origin.host.as_bytes()),
            level,
            title,
            author,
            optional(detection.rule_id.as_deref()),
            optional(tags.as_deref()),
            ValueRef::Integer(event.sequence.cast_signed()),
            optional(event.body.kind().name()),
            process_id,
            ValueRef::Text(key.as_bytes()),
            optional(about.user),
            optional(about.image),
            optional(about.loaded_image),
            optional(about.command_line),
        ])
    }

    /// Draws while there is nothing to print: rows are progress enough, and would be drawn over.
    fn draw(&mut self, event: &Event) {
        if !self.draws || self.match_count > 0 || !self.event_count.is_multiple_of(DRAW_COUNT) {
            return;
        }
        let now = Instant::now();
        if now.duration_since(self.drawn) >= DRAW_INTERVAL {
            self.drawn = now;
            let (count, time) = (self.event_count, event.time);
            console::live_line(&format!("{count} events looked at, up to {time}"));
        }
    }

    fn take_line_away(&mut self) {
        if self.draws && self.match_count == 0 {
            console::end_live_line();
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.output.end()
    }

    /// Says what came of it.
    fn tell(&self) {
        let detections = show_count(self.match_count, "detection");
        let rules = show_count(self.rules.len(), "rule");
        let events = show_count(self.event_count, "event");
        say!("{detections} by {rules} in {events}");
        let off_count = self.detector.off_count();
        if off_count > 0 {
            let off = show_count(off_count, "rule");
            say!(
                "{off} took too long and were switched off: what they would have found is not here"
            );
        }
    }
}

/// What an event says of the process it is of.
#[derive(Default)]
struct About<'e> {
    image: Option<&'e str>,
    loaded_image: Option<&'e str>,
    command_line: Option<&'e str>,
    user: Option<&'e str>,
}

impl<'e> About<'e> {
    fn of(body: &'e Body) -> Self {
        let shown = |text: &'e Option<Text>| text.as_ref().map(Text::shown);
        if let Some(program) = body.program() {
            return Self {
                image: shown(&program.image),
                command_line: shown(&program.command_line),
                user: program.user.as_deref(),
                loaded_image: None,
            };
        }
        match body {
            Body::ProcessExit(exit) => Self {
                image: shown(&exit.image),
                ..Self::default()
            },
            Body::ImageLoad(load) => Self {
                image: shown(&load.process_image),
                loaded_image: shown(&load.image),
                ..Self::default()
            },
            Body::ThreadStart(start) => Self {
                image: shown(&start.process_image),
                ..Self::default()
            },
            _ => Self::default(),
        }
    }
}

fn optional(text: Option<&str>) -> ValueRef<'_> {
    text.map_or(ValueRef::Null, |text| ValueRef::Text(text.as_bytes()))
}

/// As SQL shows a list.
fn json_list(texts: &[Text]) -> io::Result<String> {
    let texts: Vec<&str> = texts.iter().map(Text::shown).collect();
    Ok(serde_json::to_string(&texts)?)
}
