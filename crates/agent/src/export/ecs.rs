//! The Elastic Common Schema.

use event::Subject;
use serde_json::{Map, Value, json};

use super::{as_text, file_name, move_declared, set};
use crate::trail::{Body, Event, ImageLoad, Parent, Program, Text, UserId};

/// The version of the schema whose names are used.
pub const VERSION: &str = "8.17.0";

/// The event's object; `parents` are the arguments of the parent, where they are known.
pub(super) fn object(
    event: &Event,
    mut fields: Map<String, Value>,
    parents: Option<&[Text]>,
) -> Value {
    let mut object = Map::new();
    let time = fields.get("time").cloned().unwrap_or_default();
    // Keywords there, whatever they are here.
    as_text(&mut fields, &Program::user_id);
    as_text(&mut fields, &Program::real_user_id);
    set_process(&fields, parents, &mut object);
    let system = system(event, &fields);
    if let Some(system) = system {
        set(&mut object, "host.os.type", system);
    }
    for (path, name) in [
        (Parent::parent_image.name, "process.parent.name"),
        (ImageLoad::process_image.name, "process.name"),
    ] {
        if let Some(Value::String(path)) = fields.get(path) {
            set(&mut object, name, file_name(path));
        }
    }
    if let Some(Value::String(path)) = fields.get("image") {
        let name = match event.body {
            Body::ImageLoad(_) | Body::ImageUnload(_) => "dll.name",
            Body::ImageDetails(_) => "file.name",
            _ => "process.name",
        };
        set(&mut object, name, file_name(path));
    }
    if let Some(action) = action(&event.body, system) {
        // Ours stays beside theirs.
        set(&mut object, "event.action", action);
        let kind = fields.remove(Event::kind.name);
        object.insert("systrail".to_owned(), json!({ "kind": kind }));
    }
    move_declared(event, &mut fields, |field| field.ecs, &mut object);
    let Categories {
        category,
        r#type,
        time_field,
    } = categories(&event.body);
    let kind = match event.body {
        Body::Detection(_) => "alert",
        _ => "event",
    };
    if let Some(field) = time_field {
        set(&mut object, field, time);
    }
    set(&mut object, "event.kind", kind);
    set(&mut object, "event.category", json!([category]));
    set(&mut object, "event.type", json!([r#type]));
    set(&mut object, "event.module", "systrail");
    set(&mut object, "event.dataset", format!("systrail.{category}"));
    set(&mut object, "agent.type", "systrail");
    set(&mut object, "agent.version", crate::VERSION);
    set(&mut object, "ecs.version", VERSION);
    if !fields.is_empty() {
        let ours = object.entry("systrail").or_insert_with(|| json!({}));
        if let Value::Object(ours) = ours {
            ours.extend(fields);
        }
    }
    Value::Object(object)
}

/// What rules ask of a process that is more than a field of ours under another name.
fn set_process(
    fields: &Map<String, Value>,
    parents: Option<&[Text]>,
    object: &mut Map<String, Value>,
) {
    if let Some(Value::Array(arguments)) = fields.get("arguments") {
        set(object, "process.args_count", arguments.len());
    }
    if let Some(arguments) = parents {
        let shown: Vec<&str> = arguments.iter().map(Text::shown).collect();
        set(object, "process.parent.args_count", shown.len());
        set(object, "process.parent.args", shown);
    }
    // Rules ask for the user of the process by both names.
    for (name, theirs) in [
        (Program::user.name, "process.user.name"),
        (Program::user_id.name, "process.user.id"),
    ] {
        if let Some(value) = fields.get(name) {
            set(object, theirs, value.clone());
        }
    }
}

/// What rules call what a process did, where they have a word for it.
fn action(body: &Body, system: Option<&str>) -> Option<&'static str> {
    match body {
        Body::ProcessStart(start) if start.existing => Some("already_running"),
        Body::ProcessStart(_) if system == Some("windows") => Some("start"),
        Body::ProcessStart(_) => Some("fork"),
        Body::ProcessExec(_) => Some("exec"),
        Body::ProcessExit(_) => Some("end"),
        _ => None,
    }
}

/// The system an event is of, by what it says: the start of a sensor names it, users are SIDs on Windows,
/// and paths begin with a slash elsewhere.
fn system(event: &Event, fields: &Map<String, Value>) -> Option<&'static str> {
    let of = |is_windows: bool| if is_windows { "windows" } else { "linux" };
    match &event.body {
        Body::SensorStart(_) => return None,
        Body::ProcessExec(_) => return Some("linux"),
        _ => {}
    }
    if let Some(UserId::Sid(_)) = event
        .body
        .program()
        .and_then(|program| program.user_id.as_ref())
    {
        return Some("windows");
    }
    let paths = [
        ImageLoad::process_image.name,
        "image",
        Parent::parent_image.name,
    ];
    let mut paths = paths.iter().filter_map(|name| fields.get(*name)?.as_str());
    let path = paths.find(|path| path.starts_with('/') || path.contains('\\'))?;
    Some(of(!path.starts_with('/')))
}

/// What kind of event it is there.
struct Categories {
    category: &'static str,
    r#type: &'static str,
    /// Where the schema wants the time once more.
    time_field: Option<&'static str>,
}

fn categories(body: &Body) -> Categories {
    let (category, r#type, time_field) = match body {
        // What was there before did not start now.
        Body::ProcessStart(start) if start.existing => ("process", "info", Some("process.start")),
        Body::ProcessStart(_) => ("process", "start", Some("process.start")),
        Body::ProcessExec(_) | Body::ThreadStart(_) => ("process", "start", None),
        Body::ProcessExit(_) => ("process", "end", Some("process.end")),
        Body::ThreadExit(_) => ("process", "end", None),
        Body::ImageLoad(_) => ("library", "start", None),
        Body::ImageUnload(_) => ("library", "end", None),
        Body::ImageDetails(_) => ("file", "info", None),
        Body::ExecFailed(_) => ("process", "info", None),
        // A kind without a line here says at least what it is about.
        other => match other.kind().subject() {
            Some(Subject::Process | Subject::Thread | Subject::Exec) => ("process", "change", None),
            Some(Subject::Image) => ("library", "change", None),
            Some(Subject::Detection) => ("intrusion_detection", "info", None),
            Some(Subject::Recording) | None => ("host", "info", None),
        },
    };
    Categories {
        category,
        r#type,
        time_field,
    }
}
