//! `cargo xtask bench tuning`: what the settings change, and how cost grows with the work. The
//! figures stand in docs/TUNING.md, which says what to turn when.

mod crowd;
mod soak;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Serialize;
use xtask::bench::report;
use xtask::bench::sample::Sample;
use xtask::command::{cargo, run as run_command};
use xtask::workspace;

use self::crowd::Crowd;
use super::catalogue::{PEERS, Peer};
use super::cgroup::Group;
use super::load::{Amount, Load};
use super::outcome::float;
use super::session::Session;
use super::site::Site;
use super::{disturbance, interrupt, latency};

const DOCUMENT: &str = "docs/TUNING.md";
const COMMAND: &str = "cargo xtask bench tuning";

/// Marked programs for the latency of one flush interval.
const MARKED: u32 = 60;

/// Arguments of `cargo xtask bench tuning`.
#[derive(Args)]
pub(crate) struct Options {
    /// Runs of each point
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// How long a workload goes on
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// The most processes that live meanwhile
    #[arg(long, default_value_t = 30_000)]
    processes: u32,
    /// Only record 2,000 events a second for this long (90s, 30m, 1h), and watch memory and time
    #[arg(long, value_name = "TIME", value_parser = duration)]
    soak: Option<Duration>,
    /// Print the figures and leave docs as they are
    #[arg(long)]
    no_document: bool,
}

/// One value of one setting, or of the work.
struct Point {
    value: String,
    /// For the configuration file.
    settings: String,
    load: Load,
    /// Processes that live meanwhile.
    crowd: u32,
}

/// A question, and the values that answer it.
struct Curve {
    title: &'static str,
    is_about_latency: bool,
    points: Vec<Point>,
}

/// What was measured at a point.
#[derive(Default, Serialize)]
struct Figures {
    value: String,
    /// How long it took until everything was seen, in milliseconds.
    start_ms: Sample,
    slow_down_percent: Sample,
    /// The agent's own time, in microseconds an event delivered.
    us_per_event: Sample,
    /// Its share of a core.
    core_percent: Sample,
    peak_mib: Sample,
    delivered: u64,
    lost: u64,
    bytes_per_event: Sample,
    latency_ms: Sample,
}

#[derive(Serialize)]
struct Measured {
    title: &'static str,
    is_about_latency: bool,
    points: Vec<Figures>,
}

/// Measures all curves, or soaks.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "without rounds there are no figures");
    ensure!(options.seconds > 0, "a rate needs at least a second");
    interrupt::take_signals()?;
    run_command(cargo().args(["build", "--release", "--locked", "--package", "systrail"]))?;
    let bench = Bench {
        site: Site::build()?,
        load_group: Group::new("load")?,
        peer: PEERS.first().context("there is no recorder")?,
        amount: Amount {
            seconds: options.seconds,
            idle_seconds: 0,
            processes: 1000 * options.seconds,
            threads: 15_000 * options.seconds,
        },
    };
    let disturbance = disturbance::note()?;
    let disturbance: String = disturbance.map_or_else(String::new, |note| format!("{note}\n\n"));
    let text = if let Some(time) = options.soak {
        let soak = soak::run(&bench, time)?;
        save("tuning-soak.json", &soak)?;
        soak.markdown()
    } else {
        let measured = bench.measure(options)?;
        save("tuning.json", &measured)?;
        measured.iter().map(Measured::markdown).collect()
    };
    println!("\n{disturbance}{text}");
    if !options.no_document {
        let command = if options.soak.is_some() {
            format!("{COMMAND} --soak")
        } else {
            COMMAND.to_owned()
        };
        let given: Vec<String> = std::env::args().skip(1).collect();
        let section = format!(
            "Command: `cargo xtask bench {}`. Machine: {}.\n\n{disturbance}{text}",
            given.join(" "),
            report::machine()?
        );
        report::replace_section(DOCUMENT, &command, &section)?;
    }
    Ok(())
}

struct Bench {
    site: Site,
    load_group: Group,
    peer: &'static Peer,
    amount: Amount,
}

impl Bench {
    fn measure(&self, options: &Options) -> Result<Vec<Measured>> {
        let mut all = Vec::new();
        for curve in curves(options.processes) {
            println!("{}", curve.title);
            let points = curve.points.iter();
            let mut measured = Measured {
                title: curve.title,
                is_about_latency: curve.is_about_latency,
                points: points
                    .map(|point| Figures {
                        value: point.value.clone(),
                        ..Figures::default()
                    })
                    .collect(),
            };
            for round in 1..=options.rounds {
                for (point, figures) in curve.points.iter().zip(&mut measured.points) {
                    println!("  round {round} of {}: {}", options.rounds, point.value);
                    self.point(point, figures).context(point.value.clone())?;
                    if curve.is_about_latency {
                        let settings = &point.settings;
                        let pass = latency::measure(self.peer, &self.site, None, settings, MARKED)?;
                        pass.times_ms
                            .into_iter()
                            .for_each(|ms| figures.latency_ms.add(ms));
                    }
                }
            }
            all.push(measured);
        }
        Ok(all)
    }

    /// The workload alone and then recorded.
    fn point(&self, point: &Point, figures: &mut Figures) -> Result<()> {
        interrupt::check()?;
        let crowd = Crowd::gather(point.crowd, &self.site)?;
        let alone = point.load.run(self.amount, &self.site, &self.load_group)?;
        let begin = Instant::now();
        let session = Session::start(self.peer, &self.site, None, false, &point.settings)?;
        figures.start_ms.add(begin.elapsed().as_secs_f64() * 1000.0);
        let before = session.taken()?;
        let recorded = point.load.run(self.amount, &self.site, &self.load_group)?;
        session.rest()?;
        let time_ns = float(session.taken()?.time.since(before.time).total_ns());
        figures
            .peak_mib
            .add(float(session.peak_memory_kib()?) / 1024.0);
        let written = session.stop()?;
        drop(crowd);
        let delivered: u64 = written.account.values().sum();
        ensure!(delivered > 0, "systrail delivered nothing");
        figures.delivered += delivered;
        figures.lost += written.lost.context("systrail wrote no account")?;
        figures
            .us_per_event
            .add(time_ns / 1000.0 / float(delivered));
        figures
            .core_percent
            .add(time_ns / recorded.elapsed_ns * 100.0);
        let slower = recorded.busy_ns / alone.busy_ns - 1.0;
        figures.slow_down_percent.add(slower * 100.0);
        let events = u64::try_from(written.events.len())?.max(1);
        figures
            .bytes_per_event
            .add(float(written.bytes) / float(events));
        Ok(())
    }
}

/// Processes a second of the curves that are not about the rate.
const RATE: u32 = 800;

fn curves(processes_max: u32) -> Vec<Curve> {
    let curve = |title, points| Curve {
        title,
        is_about_latency: false,
        points,
    };
    vec![
        curve("Ring size, threads flat out", rings(Load::Threads)),
        curve("Ring size, fork tree 20x100", rings(Load::Tree)),
        Curve {
            title: "Flush interval, 800 processes/s",
            is_about_latency: true,
            points: ["1ms", "5ms", "10ms", "50ms", "200ms", "1s"]
                .map(|value| point(value, format!("flush_interval = \"{value}\"\n")))
                .into(),
        },
        curve("Events, 800 processes/s", events()),
        curve("Rules, 800 processes/s", rules()),
        curve("Threads a second, two events each", rates()),
        curve("Live processes, 800 processes/s", crowds(processes_max)),
    ]
}

fn point(value: &str, settings: String) -> Point {
    Point {
        value: value.to_owned(),
        settings,
        load: Load::Rate(RATE),
        crowd: 0,
    }
}

fn rings(load: Load) -> Vec<Point> {
    let sizes = ["64 KiB", "256 KiB", "1 MiB", "4 MiB", "16 MiB", "64 MiB"];
    let point = |size: &str| Point {
        load,
        ..point(
            size,
            format!("[limits]\nprocess_buffer_size = \"{size}\"\nevent_buffer_size = \"{size}\"\n"),
        )
    };
    sizes.into_iter().map(point).collect()
}

fn events() -> Vec<Point> {
    [
        r#"["process"]"#,
        r#"["process", "thread"]"#,
        r#"["process", "thread", "image"]"#,
    ]
    .map(|value| {
        point(
            &value.replace(['[', ']', '"'], ""),
            format!("events = {value}\n"),
        )
    })
    .into()
}

fn rules() -> Vec<Point> {
    let exclude = |condition: &str| format!("[[exclude]]\n{condition}\n");
    vec![
        point("none", String::new()),
        point(
            "without loads of the loader and the C library",
            exclude(r#"loaded_image = ["*/libc.so.6", "*/ld-linux-*.so.*"]"#),
        ),
        point("without the program", exclude(r#"image = "*/stb-true""#)),
    ]
}

fn rates() -> Vec<Point> {
    let at = |rate: u32| Point {
        load: Load::Storm(rate),
        ..point(&rate.to_string(), String::new())
    };
    let mut points: Vec<Point> = [500, 1000, 2500, 5000, 10_000].map(at).into();
    points.push(Point {
        load: Load::Threads,
        ..point("flat out", String::new())
    });
    points
}

fn crowds(most: u32) -> Vec<Point> {
    let sizes = [100, 1000, 10_000, 30_000];
    let with = |crowd: u32| Point {
        crowd,
        ..point(&crowd.to_string(), String::new())
    };
    sizes
        .into_iter()
        .filter(|size| *size <= most)
        .map(with)
        .collect()
}

impl Measured {
    fn markdown(&self) -> String {
        let mut lines = vec![
            format!("### {}\n", self.title),
            String::from(
                "| value | lost of | slow-down % | us/event | % of a core | peak MiB | \
                 bytes/event | start ms | p50 ms | p99 ms |",
            ),
            String::from("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"),
        ];
        lines.extend(self.points.iter().map(Figures::row));
        lines.join("\n") + "\n\n"
    }
}

impl Figures {
    fn row(&self) -> String {
        let latency = |percent| match self.latency_ms.count() {
            0 => String::from("-"),
            _ => format!("{:.1}", self.latency_ms.percentile(percent)),
        };
        format!(
            "| {} | {} of {} | {:.1} ({:.1} to {:.1}) | {:.2} | {:.2} | {:.1} | {:.0} | {:.0} | {} | {} |",
            self.value,
            self.lost,
            self.delivered + self.lost,
            self.slow_down_percent.median(),
            self.slow_down_percent.min(),
            self.slow_down_percent.max(),
            self.us_per_event.median(),
            self.core_percent.median(),
            self.peak_mib.max(),
            self.bytes_per_event.median(),
            self.start_ms.median(),
            latency(50),
            latency(99),
        )
    }
}

fn save(name: &str, value: &impl Serialize) -> Result<()> {
    let path = workspace::target().join("bench").join(name);
    let text = serde_json::to_string_pretty(value).context("cannot write the figures")?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    println!("all values are in {}", path.display());
    Ok(())
}

/// `90s`, `30m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text}: it must be a whole number with s, m or h");
    let split = text.len().saturating_sub(1);
    let (number, unit) = text.split_at_checked(split).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_not_a_number| wrong())?;
    let seconds = match unit {
        "s" => number.checked_mul(1),
        "m" => number.checked_mul(60),
        "h" => number.checked_mul(3600),
        _ => None,
    };
    seconds
        .filter(|it| *it > 0)
        .map(Duration::from_secs)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(duration("1h"), Ok(Duration::from_hours(1)));
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        for wrong in [
            "",
            "h",
            "90",
            "1d",
            "-1s",
            "0s",
            "1\u{e9}",
            "99999999999999999999s",
            "9999999999999999999h",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_point_says_what_was_lost_and_how_late_events_were() {
        let mut figures = Figures {
            value: String::from("64 KiB"),
            delivered: 90,
            lost: 10,
            ..Figures::default()
        };
        assert!(figures.row().starts_with("| 64 KiB | 10 of 100 |"));
        assert!(figures.row().ends_with("| - | - |"));
        figures.latency_ms = (1..=200).map(f64::from).collect();
        assert!(figures.row().ends_with("| 100.0 | 198.0 |"));
    }

    #[test]
    fn no_more_processes_than_the_machine_is_to_bear() {
        let sizes: Vec<u32> = crowds(1000).iter().map(|point| point.crowd).collect();
        assert_eq!(sizes, [100, 1000]);
    }
}
