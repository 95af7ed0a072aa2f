//! How a virtual table is asked: which columns, and which conditions the segments look after.

use std::fmt;
use std::str::FromStr;

use rusqlite::Result;
use rusqlite::vtab::{IndexConstraintOp, IndexInfo};

/// The most conditions that are handed on.
const CONDITIONS_MAX: usize = 8;

/// Rows of a table when nothing is known of them, as far as it matters.
const ROWS: f64 = 1e7;

/// A plan. As a text it goes through SQLite, from who chooses it to who follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// A bit a column; the last stands for all from 63 on.
    used: u64,
    conditions: Vec<Condition>,
}

/// A column, and how it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) column: usize,
    pub(super) operator: &'static str,
}

/// The comparisons that an index can help with, as SQL has them.
const OPERATORS: [&str; 6] = ["=", "IS", "<", "<=", ">", ">="];

impl Plan {
    /// Chooses conditions on the columns that `name_fn` has a name for.
    pub(super) fn choose(
        info: &mut IndexInfo,
        name_fn: impl Fn(usize) -> Option<&'static str>,
    ) -> Result<Self> {
        let mut plan = Self {
            used: info.col_used(),
            conditions: Vec::new(),
        };
        let mut share = 1.0;
        let mut chosen = Vec::new();
        for (n, constraint) in info.constraints().enumerate() {
            let operator = operator(&constraint.operator());
            let column = usize::try_from(constraint.column()).ok();
            let name = column.and_then(&name_fn);
            let (Some(operator), Some(column), Some(name)) = (operator, column, name) else {
                continue;
            };
            let is_binary = info.collation(n)?.eq_ignore_ascii_case("BINARY");
            if constraint.is_usable() && is_binary && plan.conditions.len() < CONDITIONS_MAX {
                plan.conditions.push(Condition { column, operator });
                chosen.push(n);
                share *= share_of(name, operator);
            }
        }
        for (place, n) in (1..).zip(chosen) {
            info.constraint_usage(n).set_argv_index(place);
        }
        let rows = (ROWS * share).max(1.0);
        info.set_estimated_cost(rows * 10.0);
        #[expect(clippy::cast_possible_truncation, reason = "between 1 and 1e7")]
        info.set_estimated_rows(rows as i64);
        Ok(plan)
    }

    /// These columns are needed too.
    pub(super) fn uses(&mut self, columns: impl Iterator<Item = usize>) {
        for column in columns {
            self.used |= 1 << column.min(63);
        }
    }

    /// The columns that are asked for, of so many.
    pub(super) fn columns(&self, count: usize) -> impl Iterator<Item = usize> {
        (0..count).filter(|column| self.used >> (*column).min(63) & 1 == 1)
    }

    pub(super) fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

fn operator(operator: &IndexConstraintOp) -> Option<&'static str> {
    Some(match operator {
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ => "=",
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_IS => "IS",
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT => "<",
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE => "<=",
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT => ">",
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE => ">=",
        _ => return None,
    })
}

/// Which part of the rows meets a condition, roughly: what an index of the segments finds is rare.
fn share_of(column: &str, operator: &str) -> f64 {
    match (column, operator) {
        ("process_key" | "process_id", "=" | "IS") => 1e-5,
        ("kind", "=" | "IS") => 0.2,
        (_, "=" | "IS") | ("time", _) => 0.1,
        _ => 0.5,
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:x}", self.used)?;
        for Condition { column, operator } in &self.conditions {
            write!(formatter, " {column}{operator}")?;
        }
        Ok(())
    }
}

impl FromStr for Plan {
    type Err = rusqlite::Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| {
            rusqlite::Error::ModuleError(format!("{text:?} is no plan of a virtual table"))
        })
    }
}

fn parse(text: &str) -> Option<Plan> {
    let mut words = text.split(' ');
    let used = u64::from_str_radix(words.next()?, 16).ok()?;
    let conditions = words.map(|word| {
        let end = word.find(|character: char| !character.is_ascii_digit())?;
        let (column, operator) = word.split_at(end);
        Some(Condition {
            column: column.parse().ok()?,
            operator: OPERATORS.into_iter().find(|known| *known == operator)?,
        })
    });
    Some(Plan {
        used,
        conditions: conditions.collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_back_as_it_was_written() {
        let mut plan = Plan::default();
        plan.uses([0, 5, 70].into_iter());
        for (column, operator) in OPERATORS.into_iter().enumerate() {
            plan.conditions.push(Condition { column, operator });
        }
        assert_eq!(plan.to_string().parse::<Plan>().unwrap(), plan);
        for bad in ["", "x", "ff 3", "ff =", "ff 3~"] {
            assert!(bad.parse::<Plan>().is_err(), "{bad}");
        }
    }

    #[test]
    fn columns_beyond_the_bits_are_used_together() {
        let mut plan = Plan::default();
        plan.uses([2, 65].into_iter());
        let columns: Vec<_> = plan.columns(67).collect();
        assert_eq!(columns, [2, 63, 64, 65, 66]);
    }
}
