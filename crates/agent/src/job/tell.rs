//! A job in words: first how it ended and what failed, then what took how long and what waited for what.

use super::{Figures, Job, ProgramTime};
use crate::quantity::show_count;
use crate::shown::{DIM, PLAIN, RED, Row, base_name, run_time, width};
use crate::trail::Time;
use crate::tree::{self, Forest, Process, Style, short};

/// Rows of a table where not all are asked for.
const ROWS_MAX: usize = 10;

/// A job of fewer processes is shown as a tree: tables of them would say less.
const TREE_COUNT_MAX: usize = 10;

/// Columns of a title in a table.
const TITLE_WIDTH: usize = 40;

/// How a job ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The command, or what else it is called.
    pub title: String,
    /// How, after the title: `ended with 2`.
    pub how: String,
    /// When it began.
    pub begin: Time,
    /// When it ended.
    pub end: Time,
}

/// Tells `job` for a person; `all` of the long tables.
pub fn tell(job: &Job, ended: &Ended, style: Style, all: bool) -> Vec<u8> {
    let figures = Figures::of(job, ended.end);
    let mut told = Told {
        out: Vec::new(),
        style,
        rows_max: if all { usize::MAX } else { ROWS_MAX },
    };
    told.sentence(&headline(job, &figures, ended), figures.failed.is_empty());
    if let Some(lost) = job.lost() {
        told.sentence(&lost, false);
    }
    if job.passed_over_count() > 0 {
        let events = show_count(job.passed_over_count(), "event");
        told.sentence(
            &format!("{events} found no room: what follows lacks them"),
            false,
        );
    }
    if job.processes().len() < TREE_COUNT_MAX {
        told.tree(job);
    } else {
        told.failed(job, &figures, ended);
        told.programs(&figures);
    }
    if !job.processes().is_empty() {
        told.waiting(&figures, job.processes().len(), ended);
    }
    told.loads(job);
    told.out
}

/// `make -j2 ended with 2 after 41.300 s: 1204 processes of 61 programs, 2 failed, nothing lost`.
pub(super) fn headline(job: &Job, figures: &Figures, ended: &Ended) -> String {
    let time = run_time(ended.end.0.abs_diff(ended.begin.0));
    let processes = show_count(job.processes().len(), "process");
    let programs = show_count(figures.programs.len(), "program");
    let failed = match figures.failed.len() {
        0 => "none failed".to_owned(),
        count => format!("{count} failed"),
    };
    let lost = if job.lost().is_none() {
        ", nothing lost"
    } else {
        ""
    };
    let Ended { title, how, .. } = ended;
    format!("{title} {how} after {time}: {processes} of {programs}, {failed}{lost}")
}

struct Told {
    out: Vec<u8>,
    style: Style,
    rows_max: usize,
}

impl Told {
    fn colour(&self, sequence: &'static str) -> &'static str {
        if self.style.colour { sequence } else { "" }
    }

    /// A sentence, whole, however long.
    fn sentence(&mut self, text: &str, is_fine: bool) {
        let red = self.colour(RED);
        let mut row = Row::new(&mut self.out, None);
        if !is_fine {
            row.colour(red);
        }
        row.text(text);
        row.end();
    }

    fn empty_line(&mut self) {
        self.out.push(b'\n');
    }

    fn tree(&mut self, job: &Job) {
        self.empty_line();
        self.out.extend_from_slice(&tree::heading(self.style));
        let forest = Forest::new(job.processes(), |_| true);
        let out = &mut self.out;
        // Nothing of it is on the disk, and memory takes every line.
        let _drawn = tree::draw(&forest, self.style, |line| {
            out.extend_from_slice(line);
            Ok(())
        });
    }

    fn failed(&mut self, job: &Job, figures: &Figures, ended: &Ended) {
        let failed = &figures.failed;
        if failed.is_empty() {
            return;
        }
        let processes = job.processes();
        let rows = failed.iter().take(self.rows_max).map(|index| {
            let process = &processes[*index];
            let exit = process.exit().map_or(ended.end, |exit| exit.time);
            let parent = process.parent_process_key;
            let parent = parent.and_then(|key| job.tree.with_key(key));
            [
                tree::state(process),
                short(process),
                parent.map_or_else(|| "?".to_owned(), short),
                format!("+{}", run_time(exit.0.abs_diff(ended.begin.0))),
                process
                    .run_time_ns(ended.end)
                    .map_or_else(|| "?".to_owned(), run_time),
            ]
        });
        let rows: Vec<_> = rows.collect();
        self.empty_line();
        self.table(
            ["FAILED", "WHAT", "UNDER", "AT", "RAN"],
            &rows,
            [false, false, false, true, true],
            RED,
        );
        self.more(failed.len());
    }

    fn programs(&mut self, figures: &Figures) {
        let row = |program: &ProgramTime| {
            let (longest_ns, longest) = &program.longest;
            [
                program.name.clone(),
                program.count.to_string(),
                run_time(program.wall_ns),
                program.cpu_ns.map_or_else(|| "?".to_owned(), run_time),
                run_time(*longest_ns),
                longest.clone(),
            ]
        };
        let rows: Vec<_> = figures
            .programs
            .iter()
            .take(self.rows_max)
            .map(row)
            .collect();
        self.empty_line();
        self.table(
            ["TIME", "COUNT", "WALL", "CPU", "LONGEST", ""],
            &rows,
            [false, true, true, true, true, false],
            "",
        );
        self.more(figures.programs.len());
    }

    /// Rows under their heading, the first column in a colour.
    fn table<const N: usize>(
        &mut self,
        heading: [&str; N],
        rows: &[[String; N]],
        to_the_right: [bool; N],
        colour: &'static str,
    ) {
        let heading = heading.map(str::to_owned);
        let widest = |column: usize| {
            let cells = rows.iter().chain([&heading]).map(|row| width(&row[column]));
            cells.max().unwrap_or(0).min(TITLE_WIDTH)
        };
        let widths: [usize; N] = std::array::from_fn(widest);
        let (red, dim) = (self.colour(colour), self.colour(DIM));
        for (index, cells) in [&heading].into_iter().chain(rows).enumerate() {
            let mut row = Row::new(&mut self.out, self.style.width);
            let mut begin = 0;
            for (column, cell) in cells.iter().enumerate() {
                if column > 0 {
                    row.column(begin);
                }
                if column == 0 || index == 0 {
                    row.colour(if index == 0 { dim } else { red });
                }
                let cell = fit(cell, widths[column]);
                if to_the_right[column] {
                    row.text(&" ".repeat(widths[column].saturating_sub(width(&cell))));
                }
                row.text(&cell);
                if column == 0 && index > 0 && !red.is_empty() {
                    row.colour(PLAIN);
                }
                begin += widths[column] + 2;
            }
            row.end();
        }
    }

    fn more(&mut self, count: usize) {
        if let Some(more) = count.checked_sub(self.rows_max).filter(|more| *more > 0) {
            self.sentence(&format!("({more} more: --all)"), true);
        }
    }

    /// How many were at work, and what the end waited for.
    fn waiting(&mut self, figures: &Figures, count: usize, ended: &Ended) {
        if count < 2 {
            return;
        }
        self.empty_line();
        self.sentence(&at_work(figures, ended), true);
        let whole: u64 = figures.chain.iter().map(|link| link.time_ns).sum();
        let whole = whole.saturating_add(figures.chain_rest_ns);
        let links: Vec<_> = figures
            .chain
            .iter()
            .map(|link| format!("{} {}", link.title, run_time(link.time_ns)))
            .collect();
        let mut text = format!("longest chain {}: {}", run_time(whole), links.join(" > "));
        if figures.chain_rest_ns > 0 {
            text = format!("{text}; others {}", run_time(figures.chain_rest_ns));
        }
        self.sentence(&text, true);
    }

    fn loads(&mut self, job: &Job) {
        let loads = job.foreign_loads();
        if loads.is_empty() {
            return;
        }
        let named = loads.iter().take(self.rows_max.min(loads.len()));
        let named: Vec<_> = named.map(|(image, by)| load(image, *by)).collect();
        let more = match loads.len() - named.len() {
            0 => String::new(),
            more => format!(" ({more} more: --all)"),
        };
        let text = format!(
            "loaded from outside the system's directories: {}{more}",
            named.join(", ")
        );
        self.sentence(&text, true);
    }
}

/// How many processes were at work, and for how long one alone.
pub(super) fn at_work(figures: &Figures, ended: &Ended) -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let processors = show_count(processors, "processor");
    let mut text = format!("{processors}: ");
    if let Some(cpu_ns) = figures.cpu_ns {
        let wall = ended.end.0.abs_diff(ended.begin.0).max(1);
        let busy = u128::from(cpu_ns) * 1_000 / u128::from(wall);
        let busy = tenths(u64::try_from(busy).unwrap_or(u64::MAX));
        text = format!("{text}busy {busy} on average; ");
    }
    let at_work = tenths(figures.at_work_milli);
    text = format!("{text}{at_work} processes at work");
    let alone: u64 = figures.alone.iter().map(|(_, time_ns)| time_ns).sum();
    let named = figures.alone.iter().take(3);
    let named: Vec<_> = named
        .map(|(name, time_ns)| format!("{name} {}", run_time(*time_ns)))
        .collect();
    if !named.is_empty() {
        let named = named.join(", ");
        text = format!("{text}; one alone for {}: {named}", run_time(alone));
    }
    text
}

/// Thousandths as a number with one decimal.
fn tenths(milli: u64) -> String {
    let tenths = milli.saturating_add(50) / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn load(image: &str, by: Option<&Process>) -> String {
    let by = by.and_then(|process| process.program.image.as_ref());
    let by = by.map_or("?", |image| base_name(image.shown()));
    format!("{image} (by {by})")
}

/// The text in at most so many columns; what is cut says so.
fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut fitting = String::new();
    for character in text.chars() {
        fitting.push(character);
        if width(&fitting) >= columns {
            fitting.pop();
            break;
        }
    }
    fitting.push('…');
    fitting
}
