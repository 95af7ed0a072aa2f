//! Figures of a bench beside what they should be.

/// One figure and what it should be.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) value: f64,
    pub(super) goal: Option<Goal>,
}

/// What a figure should be.
pub(super) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// Them as a table.
pub(super) fn table(figures: &[Figure]) -> String {
    let mut lines = vec![
        String::from("| figure | unit | value | goal | met |"),
        String::from("|---|---|--:|--:|---|"),
    ];
    lines.extend(figures.iter().map(Figure::row));
    lines.join("\n")
}

impl Figure {
    fn row(&self) -> String {
        let (goal, met) = match &self.goal {
            None => (String::from("-"), "-"),
            Some(Goal::AtLeast(least)) => (format!("at least {least}"), met(self.value >= *least)),
            Some(Goal::AtMost(most)) => (format!("at most {most}"), met(self.value <= *most)),
        };
        let Self {
            name, unit, value, ..
        } = self;
        format!("| {name} | {unit} | {value:.1} | {goal} | {met} |")
    }
}

const fn met(is_met: bool) -> &'static str {
    if is_met { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_compared_with_its_goal_in_the_right_direction() {
        let row = |value, goal| {
            let (name, unit) = ("x", "y");
            let goal = Some(goal);
            Figure {
                name,
                unit,
                value,
                goal,
            }
            .row()
        };
        assert_eq!(
            row(2.0, Goal::AtLeast(1.0)),
            "| x | y | 2.0 | at least 1 | yes |"
        );
        assert_eq!(
            row(2.0, Goal::AtMost(1.0)),
            "| x | y | 2.0 | at most 1 | no |"
        );
    }
}
