//! The Open Cybersecurity Schema Framework: Process Activity and Module Activity. It has no class
//! for threads: theirs are Process Activity with the activity Other, named `Thread Start` and
//! `Thread Exit`, the thread in `process.tid`, the rest in `unmapped`. Detections are Detection
//! Findings, losses and the sensor's own events Base Events.

use event::{Kind, Subject};
use serde_json::{Map, Value, json};

use super::{as_text, file_name, move_declared, set};
use crate::trail::schema::Field;
use crate::trail::{Body, Event, ProcessStart, Program, UserId};

/// The version of the schema whose names are used.
pub const VERSION: &str = "1.7.0";

/// Class and activity.
struct Class {
    uid: u32,
    name: &'static str,
    activity_id: u32,
    activity: String,
}

const PROCESS: (u32, &str) = (1007, "Process Activity");
const MODULE: (u32, &str) = (1005, "Module Activity");
const FINDING: (u32, &str) = (2004, "Detection Finding");
const BASE: (u32, &str) = (0, "Base Event");

/// The activity that is none of the class's own.
const OTHER: u32 = 99;

impl Class {
    fn of(body: &Body) -> Self {
        let own = match body {
            Body::ProcessStart(start) if start.existing => Some((OTHER, "Existing")),
            Body::ProcessStart(_) | Body::ProcessExec(_) => Some((1, "Launch")),
            Body::ProcessExit(_) => Some((2, "Terminate")),
            Body::ImageLoad(load) if load.existing => Some((OTHER, "Existing")),
            Body::ImageLoad(_) => Some((1, "Load")),
            Body::ImageUnload(_) => Some((2, "Unload")),
            Body::Detection(_) => Some((1, "Create")),
            _ => None,
        };
        let kind = body.kind();
        let (uid, name) = match kind.subject() {
            Some(Subject::Process | Subject::Thread | Subject::Exec) => PROCESS,
            Some(Subject::Image) => MODULE,
            Some(Subject::Detection) => FINDING,
            Some(Subject::Recording) | None => BASE,
        };
        let (activity_id, activity) = match own {
            Some((id, activity)) => (id, activity.to_owned()),
            None => (OTHER, in_words(kind)),
        };
        Self {
            uid,
            name,
            activity_id,
            activity,
        }
    }
}

/// The name of a kind as an activity: `Thread Start`.
fn in_words(kind: Kind) -> String {
    let words = kind.name().unwrap_or("other").split('_');
    let words = words.map(|word| {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        first.to_uppercase() + rest
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The event's object.
pub(super) fn object(event: &Event, mut fields: Map<String, Value>) -> Value {
    let class = Class::of(&event.body);
    let mut object = Map::new();
    // Texts there, whatever they are here.
    as_text(&mut fields, &Program::user_id);
    as_text(&mut fields, &ProcessStart::session_id);
    match class.uid {
        1007 => process(event, &mut fields, &mut object),
        1005 => {
            // Who maps a file is the actor, not what the event is about.
            for (ours, theirs) in [("process_id", "pid"), ("process_key", "uid")] {
                if let Some(value) = fields.remove(ours) {
                    set(&mut object, &format!("actor.process.{theirs}"), value);
                }
            }
            // Mapped from a file, whether a linker or a program did it.
            set(&mut object, "module.load_type_id", 4);
            set(&mut object, "module.load_type", "Mapped");
        }
        2004 => finding(event, &mut object),
        _ => {
            // The sensor's own process is not an actor's.
            let message = class.activity.to_lowercase();
            set(&mut object, "message", message);
        }
    }
    let has_process = ![BASE.0, FINDING.0].contains(&class.uid);
    let name = |field: &'static Field| {
        let name = field.ocsf?;
        (has_process || !name.starts_with("process.")).then_some(name)
    };
    move_declared(event, &mut fields, name, &mut object);
    let holder = match class.uid {
        1005 => Some("module"),
        1007 => Some("process"),
        _ => None,
    };
    if let Some(holder) = holder {
        set_hashes(&mut fields, &mut object, holder);
    }
    name_file(&mut object, "module");
    name_file(&mut object, "process");
    classify(event, &class, &mut object);
    if !fields.is_empty() {
        object.insert("unmapped".to_owned(), Value::Object(fields));
    }
    Value::Object(object)
}

/// What a finding has: where the process is told that it is of.
fn finding(event: &Event, object: &mut Map<String, Value>) {
    let process = json!({ "pid": event.process_id, "uid": event.process_key.to_string() });
    set(object, "evidences", json!([{ "process": process }]));
    // A finding must have one; a rule need not.
    if let Body::Detection(detection) = &event.body {
        set(object, "finding_info.uid", &*detection.rule_title);
    }
}

/// How bad it is, in the schema's words; events are no more than told.
fn severity(body: &Body) -> (u32, &'static str) {
    let Body::Detection(detection) = body else {
        return (1, "Informational");
    };
    match &*detection.rule_level {
        "informational" => (1, "Informational"),
        "low" => (2, "Low"),
        "medium" => (3, "Medium"),
        "high" => (4, "High"),
        "critical" => (5, "Critical"),
        _ => (0, "Unknown"),
    }
}

/// What every event has.
fn classify(event: &Event, class: &Class, object: &mut Map<String, Value>) {
    let (category, category_name) = match class.uid {
        uid if uid == BASE.0 => (0, "Uncategorized"),
        uid if uid == FINDING.0 => (2, "Findings"),
        _ => (1, "System Activity"),
    };
    let (severity_id, severity) = severity(&event.body);
    set(object, "class_uid", class.uid);
    set(object, "class_name", class.name);
    set(object, "category_uid", category);
    set(object, "category_name", category_name);
    set(object, "activity_id", class.activity_id);
    set(object, "activity_name", &*class.activity);
    set(object, "type_uid", class.uid * 100 + class.activity_id);
    set(
        object,
        "type_name",
        format!("{}: {}", class.name, class.activity),
    );
    set(object, "severity_id", severity_id);
    set(object, "severity", severity);
    set(object, "time", event.time.0.div_euclid(1_000_000));
    set(object, "metadata.version", VERSION);
    set(object, "metadata.profiles", json!(["datetime", "host"]));
    set(object, "metadata.product.name", "SysTrail");
    set(object, "metadata.product.vendor_name", "SysTrail");
    set(object, "metadata.product.version", crate::VERSION);
    set(object, "device.type_id", 0);
}

/// What only process and thread events have: the actor, and what else the class wants.
fn process(event: &Event, fields: &mut Map<String, Value>, object: &mut Map<String, Value>) {
    let ms = event.time.0.div_euclid(1_000_000);
    let own = [
        Value::from(event.process_id),
        event.process_key.to_string().into(),
    ];
    let [own_id, own_key] = own;
    match &event.body {
        Body::ProcessStart(start) => {
            set(object, "process.created_time", ms);
            if !start.existing {
                // Linux forks, and tells uids; Windows makes processes of programs at once.
                let is_fork = matches!(start.program.user_id, Some(UserId::Uid(_)));
                let (id, name) = if is_fork { (2, "Fork") } else { (1, "Spawn") };
                set(object, "launch_type_id", id);
                set(object, "launch_type", name);
            }
            let creator = fields.remove("creator_process_id");
            let creator = creator.or_else(|| fields.get("parent_process_id").cloned());
            set(object, "actor.process.pid", creator.unwrap_or(own_id));
            if let Some(thread) = fields.remove("creator_thread_id") {
                set(object, "actor.process.tid", thread);
            }
        }
        Body::ThreadStart(_) => {
            let creator = fields.remove("creator_process_id");
            set(object, "actor.process.pid", creator.unwrap_or(own_id));
            if let Some(thread) = fields.remove("creator_thread_id") {
                set(object, "actor.process.tid", thread);
            }
        }
        body => {
            // Whoever execs or exits does it itself.
            set(object, "actor.process.pid", own_id);
            set(object, "actor.process.uid", own_key);
            match body {
                Body::ProcessExec(_) => {
                    set(object, "launch_type_id", 3);
                    set(object, "launch_type", "Exec");
                }
                Body::ProcessExit(_) => set(object, "process.terminated_time", ms),
                _ => {}
            }
        }
    }
}

/// Gives the file of `holder` its hashes, which are a list there. Without a path there is no file.
fn set_hashes(fields: &mut Map<String, Value>, object: &mut Map<String, Value>, holder: &str) {
    let file = object.get(holder).and_then(|holder| holder.get("file"));
    if file.and_then(|file| file.get("path")).is_none() {
        return;
    }
    let algorithms = [
        (1, "MD5", "md5"),
        (2, "SHA-1", "sha1"),
        (3, "SHA-256", "sha256"),
    ];
    let hashes = algorithms.into_iter().filter_map(|(id, algorithm, ours)| {
        let value = fields.remove(ours)?;
        Some(json!({ "algorithm_id": id, "algorithm": algorithm, "value": value }))
    });
    let hashes: Vec<Value> = hashes.collect();
    if !hashes.is_empty() {
        set(object, &format!("{holder}.file.hashes"), hashes);
    }
}

/// Gives the file of `holder` the name and type the schema requires, and a process its name.
fn name_file(object: &mut Map<String, Value>, holder: &str) {
    let path = object
        .get(holder)
        .and_then(|holder| holder.pointer("/file/path"));
    let Some(name) = path.and_then(Value::as_str).map(file_name) else {
        return;
    };
    let name = name.to_owned();
    if holder == "process" {
        set(object, "process.name", name.clone());
    }
    set(object, &format!("{holder}.file.name"), name);
    set(object, &format!("{holder}.file.type_id"), 1);
    set(object, &format!("{holder}.file.type"), "Regular File");
}
