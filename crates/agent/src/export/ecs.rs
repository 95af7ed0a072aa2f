//! The Elastic Common Schema.

use serde_json::{Map, Value, json};

use super::{Move, file_name, moved, set};
use crate::trail::{Body, Event};

/// The version of the schema whose names are used.
pub const VERSION: &str = "8.17.0";

/// Where fields go.
pub(super) const MOVES: &[Move] = &[
    ("time", "@timestamp"),
    ("sequence", "event.sequence"),
    ("host", "host.name"),
    ("process_id", "process.pid"),
    ("process_key", "process.entity_id"),
    ("parent_process_id", "process.parent.pid"),
    ("parent_process_key", "process.parent.entity_id"),
    ("image", "process.executable"),
    ("command_line", "process.command_line"),
    ("arguments", "process.args"),
    ("user", "user.name"),
    ("user_id", "user.id"),
    ("exit_code", "process.exit_code"),
    ("run_time_ns", "event.duration"),
    ("thread_id", "process.thread.id"),
];

/// The event's object.
pub(super) fn object(event: &Event, mut fields: Map<String, Value>) -> Value {
    let mut object = Map::new();
    let time = fields.get("time").cloned().unwrap_or_default();
    if let Some(user_id) = fields.get_mut("user_id") {
        // A keyword there, whatever it is here.
        *user_id = Value::String(user_id.to_string().trim_matches('"').to_owned());
    }
    if let Body::ImageLoad(_) = &event.body
        && let Some(image) = fields.remove("image")
    {
        let name = image.as_str().map(|path| file_name(path).to_owned());
        set(&mut object, "dll.path", image);
        set(&mut object, "dll.name", name);
    }
    if let Some(Value::Array(arguments)) = fields.get("arguments") {
        set(&mut object, "process.args_count", arguments.len());
    }
    if let Some(Value::String(path)) = fields.get("image") {
        set(&mut object, "process.name", file_name(path));
    }
    let kind = fields.remove("kind").unwrap_or_default();
    moved(&mut fields, MOVES, &mut object);
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
    set(&mut object, "event.action", kind);
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
        Body::Lost(_) | Body::SensorStart(_) | Body::SensorStop(_) => ("host", "info", None),
    };
    Categories {
        category,
        r#type,
        time_field,
    }
}
