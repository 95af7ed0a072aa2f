//! Whether the rules decide as Sysmon does: both are asked about events that are made of the
//! configuration's own values, and of what is nearly one of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use sysmon::{Condition, Configuration, EventKind, Item};

use super::fields::field_of;
use crate::rules::{Rules, Runs, Told};
use crate::trail::{
    Body, ImageFile, ImageLoad, LoadDetails, Parent, ProcessExit, ProcessStart, Program,
    ProgramFile, Setting, StartDetails, Text, ThreadDetails, ThreadStart,
};

/// The text of each of Sysmon's fields that an event has.
type Sample = BTreeMap<&'static str, String>;

/// What the comparison came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// How many events both were asked about.
    pub event_count: usize,
    /// Those about which they disagree, in words.
    pub disagreements: Vec<String>,
}

/// The most disagreements that are told.
const TOLD_MAX: usize = 10;

/// Compares the two.
pub(super) fn compare(configuration: &Configuration, rules: &Rules) -> Proof {
    let mut proof = Proof::default();
    for kind in EventKind::ALL {
        for sample in samples(configuration, kind) {
            let Some((program, body)) = event(kind, &sample) else {
                continue;
            };
            let field = |name: &'static str| sample.get(name).map(|text| Cow::Borrowed(&**text));
            let theirs = configuration.decide(kind, field).is_kept;
            let ours = is_kept(rules, &program, &body);
            proof.event_count += 1;
            if ours != theirs && proof.disagreements.len() < TOLD_MAX {
                let said = |is_kept| if is_kept { "keeps" } else { "leaves out" };
                proof.disagreements.push(format!(
                    "Sysmon {} {} of {sample:?}, the rules {} it",
                    said(theirs),
                    kind.element(),
                    if ours { "keep" } else { "leave out" },
                ));
            }
        }
    }
    proof
}

fn is_kept(rules: &Rules, program: &Program, body: &Body) -> bool {
    let runs = Some(Runs::whole(program));
    rules
        .decide(rules.judge(runs), runs, Told::whole(body))
        .is_kept()
}

/// Events for each condition by itself, and for each rule as a whole with one field changed at a time.
fn samples(configuration: &Configuration, kind: EventKind) -> BTreeSet<Sample> {
    let mut samples = BTreeSet::from([Sample::new()]);
    for section in configuration.sections.iter().filter(|it| it.kind == kind) {
        for item in &section.items {
            let conditions = match item {
                Item::Condition(condition) => std::slice::from_ref(condition),
                Item::Rule(rule) => &*rule.conditions,
            };
            for condition in conditions {
                for text in near(condition) {
                    samples.insert(Sample::from([(condition.field, text)]));
                }
            }
            add_of_rule(conditions, &mut samples);
        }
        let conditions: Vec<Condition> = section
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Condition(condition) => Some(condition.clone()),
                Item::Rule(_) => None,
            })
            .collect();
        if section.relation == sysmon::Relation::And {
            add_of_rule(&conditions, &mut samples);
        }
    }
    samples
}

fn add_of_rule(conditions: &[Condition], samples: &mut BTreeSet<Sample>) {
    let mut whole = Sample::new();
    for condition in conditions {
        let met = near(condition).find(|text| condition.operator.matches(text, &condition.value));
        let known = whole.entry(condition.field).or_default();
        // Two conditions on one field are often two texts that it has to contain.
        if let Some(met) = met {
            known.push_str(&met);
        }
    }
    whole.retain(|_, text| !text.is_empty());
    for condition in conditions {
        for text in near(condition) {
            let mut changed = whole.clone();
            changed.insert(condition.field, text);
            samples.insert(changed);
        }
        let mut without = whole.clone();
        without.remove(condition.field);
        samples.insert(without);
    }
    samples.insert(whole);
}

/// Texts that meet a condition, and some that nearly do.
fn near(condition: &Condition) -> impl Iterator<Item = String> {
    let value = &condition.value;
    let mut texts = vec![value.clone(), value.to_uppercase(), value.replace(';', " ")];
    let items: Vec<&str> = value.split(';').collect();
    for item in items.iter().take(64) {
        texts.extend([
            (*item).to_owned(),
            format!("x{item}"),
            format!("{item}x"),
            format!("x {item} x"),
            format!(r"C:\x\{item}"),
        ]);
        let mut characters = item.chars();
        if characters.next_back().is_some() {
            texts.push(characters.collect());
        }
    }
    texts.push("other".to_owned());
    texts.into_iter().filter(|text| !text.is_empty())
}

/// Our event for one of Sysmon's; `None` where a field cannot hold such a text.
fn event(kind: EventKind, sample: &Sample) -> Option<(Program, Body)> {
    let mut own = Own {
        kind,
        sample,
        is_possible: true,
    };
    let program = Program {
        image: own.text("image"),
        command_line: own.text("command_line"),
        user: own.of("user").map(Into::into),
        ..Program::default()
    };
    let body = match kind {
        EventKind::ProcessCreate => own.start(program.clone()).into(),
        EventKind::ProcessTerminate => ProcessExit {
            image: program.image.clone(),
            ..ProcessExit::default()
        }
        .into(),
        EventKind::DriverLoad | EventKind::ImageLoad => own.load(program.image.clone()).into(),
        EventKind::CreateRemoteThread => ThreadStart {
            thread_id: own.read("thread_id", number).unwrap_or_default(),
            process_image: program.image.clone(),
            creator_process_id: own.read("creator_process_id", number),
            remote: true,
            details: Some(Box::new(ThreadDetails {
                creator_image: own.text("creator_image"),
                creator_command_line: None,
            })),
            ..ThreadStart::default()
        }
        .into(),
    };
    own.is_possible.then_some((program, body))
}

/// A sample by the names of our fields.
struct Own<'s> {
    kind: EventKind,
    sample: &'s Sample,
    /// Whether every field can hold what it is to.
    is_possible: bool,
}

impl Own<'_> {
    fn of(&self, ours: &str) -> Option<&str> {
        let mut fields = self.sample.iter();
        let (_, text) = fields.find(|(name, _)| field_of(self.kind, name) == Some(ours))?;
        Some(text)
    }

    fn text(&self, ours: &str) -> Option<Text> {
        self.of(ours).map(Text::from)
    }

    /// The value of a field that holds no text.
    fn read<T>(&mut self, ours: &str, read_fn: impl Fn(&str) -> Option<T>) -> Option<T> {
        let value = read_fn(self.of(ours)?);
        self.is_possible &= value.is_some();
        value
    }

    fn start(&mut self, program: Program) -> ProcessStart {
        ProcessStart {
            parent_process_id: self.read("parent_process_id", number),
            program,
            parent: Parent {
                parent_image: self.text("parent_image"),
                parent_command_line: self.text("parent_command_line"),
                parent_user: self.of("parent_user").map(Into::into),
            },
            setting: Setting {
                working_directory: self.text("working_directory"),
                ..Setting::default()
            },
            session_id: self.read("session_id", number),
            integrity_level: self.of("integrity_level").map(|it| it.to_owned().into()),
            details: Some(Box::new(StartDetails {
                logon_id: self.read("logon_id", address),
                file: ProgramFile {
                    original_file_name: self.text("original_file_name"),
                    description: self.text("description"),
                    product: self.text("product"),
                    company: self.text("company"),
                    file_version: self.text("file_version"),
                    ..ProgramFile::default()
                },
                ..StartDetails::default()
            })),
            ..ProcessStart::default()
        }
    }

    fn load(&mut self, process_image: Option<Text>) -> ImageLoad {
        ImageLoad {
            image: self.text("loaded_image"),
            process_image,
            kernel_image: self.kind == EventKind::DriverLoad,
            details: Some(Box::new(LoadDetails {
                file: ImageFile {
                    original_file_name: self.text("original_file_name"),
                    description: self.text("description"),
                    product: self.text("product"),
                    company: self.text("company"),
                    file_version: self.text("file_version"),
                    ..ImageFile::default()
                },
                build_id: None,
                signed: self.read("signed", truth),
                signer: self.text("signer"),
                signature_status: self.text("signature_status"),
            })),
            ..ImageLoad::default()
        }
    }
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok()
}

/// An address as the trail writes it.
fn address(text: &str) -> Option<u64> {
    let address = u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()?;
    (format!("{address:#x}") == text).then_some(address)
}

fn truth(text: &str) -> Option<bool> {
    text.to_ascii_lowercase().parse().ok()
}
