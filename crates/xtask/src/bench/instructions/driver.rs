//! The driver's paths, and the design of the book beside them.

use anyhow::Result;

use super::{Case, Figure, Options, Subject};

const PROCESS: &str = "nt::notify::process_routine*";
const THREAD: &str = "nt::notify::thread_routine*";
const IMAGE: &str = "nt::notify::image_routine*";
/// Where a batch is put together.
const DELIVERY: &str = "nt::timer::routine*";
const BOOK_NOTIFY: &str = "instructions::book::notify*";
const BOOK_READ: &str = "instructions::book::read*";

const fn case(
    name: &'static str,
    play: &'static str,
    routine: &'static str,
    goal: Option<u64>,
) -> Case {
    Case {
        name,
        play,
        routine,
        goal,
    }
}

const SUBJECT: Subject = Subject {
    name: "driver",
    package: "driver",
    cases: &[
        case("thread_start", "thread_start", THREAD, Some(600)),
        case(
            "remote_thread_start",
            "remote_thread_start",
            THREAD,
            Some(600),
        ),
        case("thread_exit", "thread_exit", THREAD, Some(600)),
        case("process_start", "process_start", PROCESS, Some(3000)),
        case("process_exit", "process_exit", PROCESS, None),
        case("image_load", "image_load", IMAGE, None),
        case("deliver_thread", "thread_exit", DELIVERY, Some(200)),
        case("deliver_process", "process_start", DELIVERY, None),
    ],
    baselines: &[
        case("book_thread", "book_thread_exit", BOOK_NOTIFY, None),
        case("book_read_thread", "book_thread_exit", BOOK_READ, None),
        case("book_process", "book_process_start", BOOK_NOTIFY, None),
        case("book_read_process", "book_process_start", BOOK_READ, None),
    ],
    is_foreign_fn: is_of_kernel,
};

/// What the kernel does for the driver, which `ntemu` stands in for. Its functions are the only ones
/// without a path that begin with a capital.
fn is_of_kernel(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase()) && !name.contains("::")
}

/// Counts them.
pub(in crate::bench) fn run(options: &Options) -> Result<()> {
    SUBJECT.run(options, document)
}

fn document(figures: &[Figure]) -> String {
    let mut lines = vec![
        String::from("| path | instructions an event | calls of the kernel | goal | met |"),
        String::from("|---|--:|--:|--:|---|"),
    ];
    lines.extend(figures.iter().map(|figure| {
        let (goal, met) = match figure.case.goal {
            Some(goal) if figure.instructions <= goal => (goal.to_string(), "yes"),
            Some(goal) => (goal.to_string(), "no"),
            None => (String::from("-"), "-"),
        };
        format!(
            "| {} | {} | {:.1} | {goal} | {met} |",
            figure.case.name, figure.instructions, figure.calls
        )
    }));
    lines.push(String::new());
    lines.join("\n")
}
