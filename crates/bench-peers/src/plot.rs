//! The comparison as pictures: SVG, so that they are text in the repository and sharp anywhere.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use plotters::coord::types::RangedCoordf64;
use plotters::element::{Circle, PathElement, Rectangle, Text};
use plotters::prelude::{
    BLACK, Cartesian2d, ChartBuilder, ChartContext, Color as _, DrawingAreaErrorKind,
    IntoDrawingArea as _, Palette as _, Palette99, SVGBackend, SeriesLabelPosition, WHITE,
};
use xtask::bench::sample::Sample;

use super::outcome::{NONE, Outcome};

const SIZE: (u32, u32) = (1100, 460);

/// The legend stands beside the bars: the width of all, over that of the bars.
const LEGEND: f64 = 1.3;

/// Of the height, above and below the bars.
const MARGIN: f64 = 0.08;

/// A picture of bars: a group for each workload, a bar for each recorder.
struct Bars {
    title: &'static str,
    unit: &'static str,
    groups: Vec<Group>,
}

struct Group {
    name: String,
    /// The recorder's index, for its colour, and its figure with least and greatest.
    bars: Vec<(usize, Sample)>,
}

/// Draws all of them; returns the files and their titles.
pub(super) fn draw(outcome: &Outcome, directory: &Path) -> Result<Vec<(String, String)>> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let names: Vec<&str> = recorders(outcome);
    let pictures = [
        ("peers-slow-down.svg", slow_down(outcome)),
        ("peers-cost.svg", cost(outcome)),
        ("peers-latency.svg", latency(outcome)),
    ];
    let mut drawn = Vec::new();
    for (file, bars) in pictures {
        if bars.groups.is_empty() {
            continue;
        }
        let path = directory.join(file);
        bars.draw(&names, &path)
            .with_context(|| format!("cannot draw {}", path.display()))?;
        // The library ends its file without one.
        let text = fs::read_to_string(&path)?;
        fs::write(&path, format!("{}\n", text.trim_end()))?;
        drawn.push((file.to_owned(), bars.title.to_owned()));
    }
    Ok(drawn)
}

fn recorders(outcome: &Outcome) -> Vec<&str> {
    let names = outcome.rows.iter().map(|row| row.name.as_str());
    names.filter(|name| *name != NONE).collect()
}

fn slow_down(outcome: &Outcome) -> Bars {
    Bars {
        title: "Slow-down of the workload",
        unit: "%",
        groups: groups(outcome, |name, column| {
            outcome.slow_down(name, &column.name)
        }),
    }
}

fn cost(outcome: &Outcome) -> Bars {
    Bars {
        title: "Processor time an event that happened, all of it",
        unit: "us",
        groups: groups(outcome, |name, column| outcome.cost_us(name, column)),
    }
}

fn latency(outcome: &Outcome) -> Bars {
    let ranks: [(&str, usize); 3] = [("p50", 50), ("p99", 99), ("max", 100)];
    let names = recorders(outcome);
    let group = |(name, percent): (&str, usize)| Group {
        name: name.to_owned(),
        bars: outcome
            .rows
            .iter()
            .filter_map(|row| {
                let latency = row.latency.as_ref()?;
                let index = names.iter().position(|name| *name == row.name)?;
                let sample: Sample = latency.times_ms.iter().copied().collect();
                Some((index, Sample::from_iter([sample.percentile(percent)])))
            })
            .collect(),
    };
    let has_any = outcome.rows.iter().any(|row| row.latency.is_some());
    Bars {
        title: "From exec to the line that tells of it",
        unit: "ms",
        groups: if has_any {
            ranks.map(group).into()
        } else {
            Vec::new()
        },
    }
}

/// A group for each workload in which something happens.
fn groups(
    outcome: &Outcome,
    figure_fn: impl Fn(&str, &super::outcome::Column) -> Sample,
) -> Vec<Group> {
    let names = recorders(outcome);
    let columns = outcome.columns.iter().filter(|it| !it.happened.is_empty());
    columns
        .map(|column| Group {
            name: column
                .name
                .replace("fork + exec, ", "")
                .replace(" of 500 libraries", ""),
            bars: names
                .iter()
                .enumerate()
                .map(|(index, name)| (index, figure_fn(name, column)))
                .filter(|(_, sample)| sample.count() > 0)
                .collect(),
        })
        .collect()
}

type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

impl Bars {
    fn draw(&self, names: &[&str], path: &Path) -> Result<()> {
        let root = SVGBackend::new(path, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(error)?;
        let (low, high) = self.range();
        let width = f64::from(u32::try_from(names.len() + 1)?);
        let end = width * f64::from(u32::try_from(self.groups.len())?);
        let mut chart = ChartBuilder::on(&root)
            .caption(self.title, ("sans-serif", 20))
            .margin(12)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..end * LEGEND, low..high)
            .map_err(error)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .y_desc(self.unit)
            .label_style(("sans-serif", 12))
            .draw()
            .map_err(error)?;
        for (group, index) in self.groups.iter().zip(0_u32..) {
            let begin = f64::from(index) * width + 0.5;
            // In the margin below the least figure.
            let place = (begin, low + (high - low) * MARGIN * 0.6);
            let label = Text::new(group.name.clone(), place, ("sans-serif", 12));
            chart.draw_series([label]).map_err(error)?;
            for (recorder, sample) in &group.bars {
                let left = begin + f64::from(u32::try_from(*recorder)?);
                bar(&mut chart, left, *recorder, sample)?;
            }
        }
        legend(&mut chart, names)?;
        root.present().map_err(error)
    }

    /// From nothing, or below it, to a little above the greatest median.
    fn range(&self) -> (f64, f64) {
        let medians = || {
            let bars = self.groups.iter().flat_map(|group| &group.bars);
            bars.map(|(_, sample)| sample.median())
        };
        let low = medians().fold(0.0, f64::min);
        let high = medians().fold(0.0, f64::max);
        let margin = ((high - low) * MARGIN).max(f64::MIN_POSITIVE);
        (low - margin, high + margin)
    }
}

/// The median as a bar, least and greatest as a line.
fn bar(chart: &mut Chart<'_>, left: f64, recorder: usize, sample: &Sample) -> Result<()> {
    let colour = Palette99::pick(recorder);
    let corners = [(left, 0.0), (left + 0.9, sample.median())];
    let bar = Rectangle::new(corners, colour.filled());
    chart.draw_series([bar]).map_err(error)?;
    let middle = left + 0.45;
    let line = PathElement::new([(middle, sample.min()), (middle, sample.max())], BLACK);
    chart.draw_series([line]).map_err(error)?;
    Ok(())
}

fn legend(chart: &mut Chart<'_>, names: &[&str]) -> Result<()> {
    for (recorder, name) in names.iter().enumerate() {
        let colour = Palette99::pick(recorder).to_rgba();
        let key = move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled());
        chart
            .draw_series(std::iter::empty::<Circle<(f64, f64), i32>>())
            .map_err(error)?
            .label(*name)
            .legend(key);
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 12))
        .draw()
        .map_err(error)
}

/// The library's errors have the type of where it draws; what they say is enough.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` calls")]
fn error<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> anyhow::Error {
    anyhow!("{error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::outcome;

    #[test]
    fn each_picture_names_every_recorder() -> Result<()> {
        let directory = xtask::workspace::target().join("plot test");
        let drawn = draw(&outcome(), &directory)?;
        // Nobody was read along, so there is no picture of that.
        let files: Vec<&str> = drawn.iter().map(|(file, _)| file.as_str()).collect();
        assert_eq!(files, ["peers-slow-down.svg", "peers-cost.svg"]);
        for file in files {
            let text = fs::read_to_string(directory.join(file))?;
            for name in ["systrail run, log", "auditd, raw log"] {
                assert!(text.contains(name), "{file} does not name {name}");
            }
        }
        fs::remove_dir_all(&directory)?;
        Ok(())
    }
}
