//! What is taken one way and could be meant another: told, so that who knows can say.

use sysmon::{Condition, Configuration, Item};

use super::Left;

/// What Windows' variables hold where nobody changed them.
const VARIABLES: [(&str, &str); 8] = [
    ("%SystemDrive%", "C:"),
    ("%SystemRoot%", r"C:\Windows"),
    ("%windir%", r"C:\Windows"),
    ("%ProgramFiles%", r"C:\Program Files"),
    ("%ProgramFiles(x86)%", r"C:\Program Files (x86)"),
    ("%ProgramData%", r"C:\ProgramData"),
    ("%AllUsersProfile%", r"C:\ProgramData"),
    ("%Public%", r"C:\Users\Public"),
];

/// Puts in for variables what they hold on nearly every machine, and tells that and whatever else is
/// disputed. Sysmon asks the environment of the machine that it runs on.
pub(super) fn settle(configuration: &mut Configuration) -> Vec<Left> {
    let mut remarks = Vec::new();
    for section in &mut configuration.sections {
        for item in &mut section.items {
            match item {
                Item::Condition(condition) => put_in(condition, &mut remarks),
                Item::Rule(rule) => {
                    if !rule.says_relation && rule.conditions.len() > 1 {
                        remarks.push(Left {
                            line: rule.line,
                            what: "a Rule without groupRelation: one of its conditions is enough, \
                                   as Sysmon's source has it; write groupRelation=\"and\" where \
                                   all are meant"
                                .to_owned(),
                        });
                    }
                    for condition in &mut rule.conditions {
                        put_in(condition, &mut remarks);
                    }
                }
            }
        }
    }
    remarks.sort_by_key(|remark| remark.line);
    remarks
}

fn put_in(condition: &mut Condition, remarks: &mut Vec<Left>) {
    for (variable, value) in VARIABLES {
        if let Some(replaced) = replaced(&condition.value, variable, value) {
            condition.value = replaced;
            remarks.push(Left {
                line: condition.line,
                what: format!("{variable} is taken as {value}"),
            });
        }
    }
    if has_variable(&condition.value) {
        remarks.push(Left {
            line: condition.line,
            what: format!(
                "{} is taken as it stands, and Sysmon puts in what a variable between % holds; write \
                 it out",
                condition.field
            ),
        });
    }
}

/// The text with the value for each time it names the variable, whatever the case; `None` where it does not.
fn replaced(text: &str, variable: &str, value: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let variable = variable.to_ascii_lowercase();
    let mut whole = String::new();
    let mut end = 0;
    for (begin, found) in lower.match_indices(&variable) {
        whole.push_str(text.get(end..begin)?);
        whole.push_str(value);
        end = begin + found.len();
    }
    whole.push_str(text.get(end..)?);
    (end > 0).then_some(whole)
}

/// Whether something is left between two `%` that could be the name of a variable.
fn has_variable(text: &str) -> bool {
    let parts: Vec<&str> = text.split('%').collect();
    let inner = parts.get(1..parts.len().saturating_sub(1));
    let is_name = |part: &&str| {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_()".contains(&byte);
        !part.is_empty() && part.bytes().all(is_of_name)
    };
    inner.is_some_and(|inner| inner.iter().any(is_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_put_in_whatever_its_case_and_what_is_none_stays() {
        let of = |text| replaced(text, "%ProgramData%", r"C:\ProgramData");
        assert_eq!(
            of(r"%PROGRAMDATA%\x;%programdata%\y").unwrap(),
            r"C:\ProgramData\x;C:\ProgramData\y"
        );
        assert_eq!(of("%Other%"), None);
        assert!(has_variable(r"%TEMP%\x") && has_variable("a%b_c(d)%"));
        assert!(!has_variable("100%") && !has_variable("%%") && !has_variable("5% of 7%, 8%"));
    }
}
