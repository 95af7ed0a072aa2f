//! What there is to ask for. Addresses are relative everywhere, so that it works below any path of a proxy.

use std::path::PathBuf;
use std::time::Duration;

use event::ProcessKey;
use serde_json::{Value, json};

use super::answer::Answer;
use super::live::Live;
use super::processes::Stories;
use super::request::{Method, Request};
use super::server::Slots;
use super::stream::Stream;
use super::{Options, overview, processes, saved, sql};
use crate::page;
use crate::query::EXAMPLES;
use crate::store::{Guard, Limits, Window, views};
use crate::sys::wake::Waker;
use crate::trail::Time;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");
const ICON: &str = include_str!("page/icon.svg");

/// How long what the page asks for by itself may take.
const LOOK_TIME_MAX: Duration = Duration::from_secs(30);

/// How many of those are put together at once, and how many queries of people.
const LOOKS_MAX: usize = 6;
const QUERIES_MAX: usize = 2;

/// What there is.
#[derive(Debug)]
pub(super) struct Routes {
    directory: PathBuf,
    query_time: Duration,
    live: Live,
    looks: Slots,
    queries: Slots,
}

impl Routes {
    pub(super) fn new(options: Options, live: Live) -> Self {
        Self {
            directory: options.directory,
            query_time: options.query_time,
            live,
            looks: Slots::new(LOOKS_MAX),
            queries: Slots::new(QUERIES_MAX),
        }
    }

    /// The answer; none where it was a stream that is over.
    pub(super) fn answer(&self, request: &Request, stream: &mut Stream) -> Option<Answer> {
        let answer = match (request.method, &*request.path) {
            (Method::Get, "/") => Answer::page(200, PAGE),
            (Method::Get, "/page.css") => Answer::file("text/css; charset=utf-8", style()),
            (Method::Get, "/page.js") => Answer::file("text/javascript; charset=utf-8", script()),
            (Method::Get, "/icon.svg") => Answer::file("image/svg+xml", ICON),
            (Method::Get, "/api/schema") => Answer::json(200, &schema()),
            (Method::Get, "/api/overview" | "/api/processes" | "/api/story" | "/api/page") => {
                self.look(request, stream)
            }
            (Method::Post, "/api/query") => self.query(request, stream),
            (Method::Get, "/api/events") => return self.live.show(stream),
            _ => Answer::error(404, "there is nothing here"),
        };
        Some(answer)
    }

    fn look(&self, request: &Request, stream: &Stream) -> Answer {
        let Some(_slot) = self.looks.take() else {
            return Answer::error(503, "too much is asked for at once; try again in a moment");
        };
        let guard = guard(LOOK_TIME_MAX, stream);
        let window = match window(request) {
            Ok(window) => window,
            Err(why) => return Answer::error(400, &why),
        };
        let key = request.parameter("key");
        let key = key.and_then(|key| ProcessKey::from_hex(&key));
        let told = match &*request.path {
            "/api/overview" => overview::read(&self.directory, &guard).map_err(|it| it.to_string()),
            "/api/processes" => processes::read(&self.directory, window, &guard),
            "/api/page" => return self.saved(window, key, &guard),
            _ => {
                let Some(key) = key else {
                    return Answer::error(400, "`key` is not a key of 16 hex digits");
                };
                Stories::open(&self.directory, window.until, &guard)
                    .and_then(|stories| stories.tell(key))
            }
        };
        match told {
            Ok(told) => Answer::json(200, &told),
            Err(why) => Answer::error(422, &why),
        }
    }

    /// What is seen, for a browser to keep as a file.
    fn saved(&self, window: Window, key: Option<ProcessKey>, guard: &Guard) -> Answer {
        let (style, script) = (style(), script());
        let parts = (PAGE, &*style, &*script);
        match saved::read(&self.directory, window, key, parts, guard) {
            Ok(file) => Answer::file("text/html; charset=utf-8", file.page).with(
                "Content-Disposition",
                &format!("attachment; filename=\"{}\"", file.name),
            ),
            Err(why) => Answer::error(422, &why),
        }
    }

    fn query(&self, request: &Request, stream: &Stream) -> Answer {
        let Some(_slot) = self.queries.take() else {
            let why = "two queries are at work already; stop one, or wait for it";
            return Answer::error(503, why);
        };
        let window = match window(request) {
            Ok(window) => window,
            Err(why) => return Answer::error(400, &why),
        };
        let Ok(text) = std::str::from_utf8(&request.body) else {
            return Answer::error(400, "the query is no valid text");
        };
        let guard = guard(self.query_time, stream);
        match sql::ask(&self.directory, &window, text, &guard) {
            Ok(told) => Answer::json(200, &told),
            Err(why) => Answer::error(422, &why),
        }
    }
}

fn style() -> String {
    [page::STYLE, STYLE].concat()
}

fn script() -> String {
    [page::SCRIPT, page::TIMELINE, SCRIPT].concat()
}

/// With that limit, and an end when nobody waits for the answer any more.
fn guard(timeout: Duration, stream: &Stream) -> Guard {
    let waker = Waker::new().ok();
    let gone = stream.other().ok().zip(waker.clone());
    let progress_fn = gone.map(
        |(mut stream, waker)| -> Box<dyn FnMut(Duration, u64) + Send> {
            Box::new(move |_, _| {
                if stream.is_gone() {
                    waker.wake();
                }
            })
        },
    );
    Guard::new(Limits {
        timeout: Some(timeout),
        stop: waker,
        progress_fn,
    })
}

/// The time that is asked for, in nanoseconds since 1970.
fn window(request: &Request) -> Result<Window, String> {
    let time = |name| match request.parameter(name) {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(time) => Ok(Some(Time(time))),
            Err(_no_number) => Err(format!("`{name}` is not a number of nanoseconds")),
        },
    };
    Ok(Window {
        since: time("since")?,
        until: time("until")?,
    })
}

/// What the box for SQL offers.
fn schema() -> Value {
    let view = |view: &crate::store::View| {
        let columns = view.columns.iter();
        let columns: Vec<[&str; 2]> = columns.map(|one| [one.name, one.about]).collect();
        json!({ "name": view.name, "about": view.about, "columns": columns })
    };
    let examples = EXAMPLES.iter().map(|one| [one.question, one.sql]);
    json!({
        "views": views().iter().map(view).collect::<Vec<_>>(),
        "examples": examples.collect::<Vec<_>>(),
    })
}
