//! What Sysmon's fields are called here, and what its conditions are as patterns.

use sysmon::{Condition, EventKind, NO_TEXT, Operator};

use super::table::Table;
use crate::rules::Field;

/// Our field for one of Sysmon's; `None` where there is none that holds the same text.
pub(super) fn field_of(kind: EventKind, name: &str) -> Option<&'static str> {
    match kind {
        EventKind::ProcessCreate => of_start(name),
        EventKind::ProcessTerminate => match name {
            "Image" => Some("image"),
            "User" => Some("user"),
            _ => None,
        },
        EventKind::DriverLoad | EventKind::ImageLoad => of_load(name),
        EventKind::CreateRemoteThread => match name {
            "SourceImage" => Some("creator_image"),
            "SourceProcessId" => Some("creator_process_id"),
            "TargetImage" => Some("image"),
            "TargetUser" => Some("user"),
            "NewThreadId" => Some("thread_id"),
            _ => None,
        },
    }
}

fn of_start(name: &str) -> Option<&'static str> {
    Some(match name {
        "Image" => "image",
        "CommandLine" => "command_line",
        "CurrentDirectory" => "working_directory",
        "User" => "user",
        "LogonId" => "logon_id",
        "TerminalSessionId" => "session_id",
        "IntegrityLevel" => "integrity_level",
        "ParentProcessId" => "parent_process_id",
        "ParentImage" => "parent_image",
        "ParentCommandLine" => "parent_command_line",
        "ParentUser" => "parent_user",
        name => return of_file(name),
    })
}

fn of_load(name: &str) -> Option<&'static str> {
    Some(match name {
        "Image" => "image",
        "ImageLoaded" => "loaded_image",
        "User" => "user",
        "Signed" => "signed",
        "Signature" => "signer",
        "SignatureStatus" => "signature_status",
        name => return of_file(name),
    })
}

fn of_file(name: &str) -> Option<&'static str> {
    Some(match name {
        "OriginalFileName" => "original_file_name",
        "FileVersion" => "file_version",
        "Description" => "description",
        "Product" => "product",
        "Company" => "company",
        _ => return None,
    })
}

/// A condition as a table, or why it has none.
pub(super) fn condition(kind: EventKind, condition: &Condition) -> Result<Table, String> {
    let Condition {
        field,
        operator,
        value,
        ..
    } = condition;
    let Some(name) = field_of(kind, field) else {
        return Err(format!("no field here holds what {field} does"));
    };
    let Some((positive, is_negated)) = positive(*operator) else {
        return Err(format!("no pattern is as \"{}\"", operator.name()));
    };
    let mut wanted: Vec<Table> = positive
        .wanted(value)
        .filter(|text| !(text.is_empty() && matches!(positive, Operator::Is | Operator::IsAny)))
        .map(|text| Table::field(name, patterns(name, positive, text)))
        .collect();
    let is_every = positive == Operator::ContainsAll;
    if wanted.is_empty() {
        return Err("an empty text is no text of an event".to_owned());
    }
    let mut table = if is_every {
        Table::all(wanted)
    } else if wanted.len() == 1 {
        wanted.swap_remove(0)
    } else {
        Table::any(wanted)
    };
    // A field without a text is a dash to Sysmon.
    if positive.matches(NO_TEXT, value) {
        table = Table::any(vec![table, Table::present(name).not()]);
    }
    Ok(if is_negated { table.not() } else { table })
}

/// The operator that says the contrary of one with "not", and whether it is one.
const fn positive(operator: Operator) -> Option<(Operator, bool)> {
    Some(match operator {
        Operator::Is
        | Operator::IsAny
        | Operator::Contains
        | Operator::ContainsAny
        | Operator::ContainsAll
        | Operator::BeginWith
        | Operator::EndWith
        | Operator::Image => (operator, false),
        Operator::IsNot => (Operator::Is, true),
        Operator::Excludes => (Operator::Contains, true),
        Operator::ExcludesAny => (Operator::ContainsAny, true),
        Operator::ExcludesAll => (Operator::ContainsAll, true),
        Operator::NotBeginWith => (Operator::BeginWith, true),
        Operator::NotEndWith => (Operator::EndWith, true),
        Operator::LessThan | Operator::MoreThan => return None,
    })
}

/// The patterns of texts in which `text` is as the operator wants it.
fn patterns(field: &str, operator: Operator, text: &str) -> Vec<String> {
    let own = literal(field, text);
    match operator {
        Operator::Contains | Operator::ContainsAny | Operator::ContainsAll if text.is_empty() => {
            vec!["*".to_owned()]
        }
        Operator::Contains | Operator::ContainsAny | Operator::ContainsAll => {
            vec![format!("*{own}*")]
        }
        Operator::BeginWith => vec![format!("{own}*")],
        Operator::EndWith => vec![format!("*{own}")],
        // The name of a file that has none: of a path that ends in a directory.
        Operator::Image if text.is_empty() => vec!["*\\".to_owned()],
        Operator::Image if !text.contains('\\') => vec![format!("*\\{own}"), own],
        _ => vec![own],
    }
}

/// A pattern that is one text, whatever its case; patterns themselves ignore that of ASCII alone.
fn literal(field: &str, text: &str) -> String {
    // To Sysmon `/` is no separator, as a pattern of a path has it.
    let is_path = Field::named(field).is_some_and(Field::is_path);
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        let is_special = matches!(character, '*' | '?' | '[' | ']' | '{' | '}');
        if is_special || (is_path && character == '/') {
            pattern.extend(['[', character, ']']);
            continue;
        }
        let other = other_case(character);
        match other.filter(|_| !character.is_ascii()) {
            Some(other) => pattern.extend(['{', character, ',', other, '}']),
            None => pattern.push(character),
        }
    }
    pattern
}

/// The character in the other case, where that is one character.
fn other_case(character: char) -> Option<char> {
    let one = |mut characters: std::vec::IntoIter<char>| {
        let first = characters.next();
        first.filter(|it| characters.next().is_none() && *it != character)
    };
    let lower: Vec<char> = character.to_lowercase().collect();
    let upper: Vec<char> = character.to_uppercase().collect();
    one(lower.into_iter()).or_else(|| one(upper.into_iter()))
}
