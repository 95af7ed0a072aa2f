//! Which rules can fire here.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use systrail::detect::{Refused, RuleSet, Tally};
use systrail::quantity::show_count;
use systrail::shown;

use super::CheckArguments;
use crate::cli::{Exit, Failure, console};

/// Does `systrail detect check`.
pub(super) fn main(arguments: &CheckArguments) -> Result<Exit, Failure> {
    let rule_set = RuleSet::load(&arguments.rules, arguments.level).map_err(Failure::usage)?;
    let text = if arguments.format == "json" {
        let object = serde_json::to_string_pretty(&object(&rule_set))?;
        format!("{object}\n")
    } else {
        let lines = table(&rule_set);
        lines.lines().map(|line| shown::safe(line) + "\n").collect()
    };
    console::result(&text)?;
    Ok(Exit::Done)
}

fn object(rule_set: &RuleSet) -> Value {
    let sources = rule_set.tallies().iter().map(|tally| {
        let missing: Map<String, Value> = tally
            .missing
            .iter()
            .map(|(field, count)| (field.clone(), (*count).into()))
            .collect();
        json!({
            "product": tally.product,
            "category": tally.category,
            "can_fire": tally.able_count,
            "can_fire_in_part": tally.partly_count,
            "cannot_fire": tally.unable_count,
            "missing_fields": missing,
            "below_level": tally.below_count,
            "refused": tally.refused_count,
        })
    });
    let told = |list: &[Refused]| {
        let list = list.iter().map(|refused| {
            json!({
                "path": refused.path.display().to_string(),
                "title": refused.title,
                "reason": refused.reason,
            })
        });
        list.collect::<Vec<_>>()
    };
    json!({
        "log_sources": sources.collect::<Vec<_>>(),
        "refused": told(rule_set.refused()),
        "remarks": told(rule_set.remarks()),
        "other_log_sources": rule_set.elsewhere_count(),
    })
}

fn table(rule_set: &RuleSet) -> String {
    let mut text = format!(
        "{:<8} {:<21} {:>8} {:>7} {:>11} {:>7} {:>11}\n",
        "PRODUCT", "CATEGORY", "CAN FIRE", "IN PART", "CANNOT FIRE", "REFUSED", "BELOW LEVEL"
    );
    for tally in rule_set.tallies() {
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            text,
            "{:<8} {:<21} {:>8} {:>7} {:>11} {:>7} {:>11}{}",
            tally.product,
            tally.category,
            tally.able_count,
            tally.partly_count,
            tally.unable_count,
            tally.refused_count,
            tally.below_count,
            share(tally)
        );
    }
    let others = show_count(rule_set.elsewhere_count(), "rule");
    let _infallible = writeln!(
        text,
        "\n{others} for log sources that are not recorded here"
    );
    fields(rule_set.tallies(), &mut text);
    let remarks = rule_set.remarks().iter().map(|remark| ("taken", remark));
    let refused = rule_set
        .refused()
        .iter()
        .map(|refused| ("refused", refused));
    for (what, told) in refused.chain(remarks) {
        let _infallible = writeln!(text, "{what}: {told}");
    }
    text
}

/// How many of a hundred can fire.
fn share(tally: &Tally) -> String {
    let all = tally.able_count + tally.unable_count + tally.refused_count;
    match (tally.able_count * 1000).checked_div(all) {
        Some(share) => format!("  {:>3}.{} %", share / 10, share % 10),
        None => String::new(),
    }
}

/// The fields for want of which rules cannot fire, those most are in want of first.
fn fields(tallies: &[Tally], text: &mut String) {
    for tally in tallies.iter().filter(|tally| !tally.missing.is_empty()) {
        let mut fields: Vec<(&String, &usize)> = tally.missing.iter().collect();
        fields.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
        let _infallible = writeln!(
            text,
            "\n{} {}: what rules ask for that cannot fire",
            tally.product, tally.category
        );
        for (name, count) in fields {
            let _infallible = writeln!(text, "  {name:<30} {count:>5}");
        }
    }
    text.push('\n');
}
