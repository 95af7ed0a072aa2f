//! The Elastic Common Schema.

use event::Subject;
use serde_json::{Map, Value, json};

use super::{as_text, file_name, move_declared, set};
use crate::trail::{Body, Event, Program};

/// The version of the schema whose names are used.
pub const VERSION: &str = "8.17.0";

/// The event's object.
pub(super) fn object(event: &Event, mut fields: Map<String, Value>) -> Value {
    let mut object = Map::new();
    let time = fields.get("time").cloned().unwrap_or_default();
    // Keywords there, whatever they are here.
    as_text(&mut fields, &Program::user_id);
    as_text(&mut fields, &Program::real_user_id);
    if let Some(Value::Array(arguments)) = fields.get("arguments") {
        set(&mut object, "process.args_count", arguments.len());
    }
    if let Some(Value::String(path)) = fields.get("image") {
        let is_library = matches!(event.body, Body::ImageLoad(_) | Body::ImageUnload(_));
        let name = if is_library {
            "dll.name"
        } else {
            "process.name"
        };
        set(&mut object, name, file_name(path));
    }
    move_declared(event, &mut fields, |field| field.ecs, &mut object);
    let Categories {
        category,
        r#type,
        time_field,
    } = categories(&event.body);
    if let Some(field) = time_field {
        set(&mut object, field, time);
    }
    set(&mut object, "event.kind", "event");
    set(&mut object, "event.category", json!([category]));
    set(&mut object, "event.type", json!([r#type]));
    set(&mut object, "event.module", "systrail");
    set(&mut object, "event.dataset", format!("systrail.{category}"));
    set(&mut object, "agent.type", "systrail");
    set(&mut object, "agent.version", crate::VERSION);
    set(&mut object, "ecs.version", VERSION);
    if !fields.is_empty() {
        object.insert("systrail".to_owned(), Value::Object(fields));
    }
    Value::Object(object)
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
        // A kind without a line here says at least what it is about.
        other => match other.kind().subject() {
            Some(Subject::Process | Subject::Thread) => ("process", "change", None),
            Some(Subject::Image) => ("library", "change", None),
            Some(Subject::Recording) | None => ("host", "info", None),
        },
    };
    Categories {
        category,
        r#type,
        time_field,
    }
}
