//! A rule as it was parsed -> the same rule as the engine takes it: columns in the place of fields, and
//! the values said another way where `rsigma-eval` 0.23.0 answers wrongly.
//!
//! What is wrong there: `windash` knows one dash and makes plain text of wildcards, `base64offset` keeps
//! a last character that depends on what follows, and a wildcard stops at the end of a line. Each is
//! put right by telling the engine what is meant with the modifiers it has right.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rsigma_parser::value::{SpecialChar, StringPart};
use rsigma_parser::{
    Detection, DetectionItem, FieldSpec, Modifier, SigmaRule, SigmaString, SigmaValue,
};

use super::taxonomy::Source;
use super::view::{NO_COLUMN, letter};

/// What Windows programs take for the dash of an option (Sigma's appendix of modifiers, `windash`).
const DASHES: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];

/// So many dashes in a value are written out, 25 values for two; with more it becomes a pattern.
const DASHES_WRITTEN_MAX: usize = 2;

/// Rewrites every detection of `rule` for the log source.
///
/// # Errors
/// Why the rule cannot be taken, in words.
pub(super) fn rewrite(rule: &mut SigmaRule, source: &Source) -> Result<(), String> {
    for (name, detection) in &mut rule.detection.named {
        let old = std::mem::replace(detection, Detection::AllOf(Vec::new()));
        let rewriter = Rewriter { source };
        *detection = rewriter
            .detection(old)
            .map_err(|reason| format!("{name}: {reason}"))?;
    }
    Ok(())
}

struct Rewriter<'s> {
    source: &'s Source,
}

/// How a text is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    Contains,
    StartsWith,
    EndsWith,
    Pattern,
}

impl Operator {
    const ALL: [Self; 5] = [
        Self::Equal,
        Self::Contains,
        Self::StartsWith,
        Self::EndsWith,
        Self::Pattern,
    ];

    fn of(modifiers: &[Modifier]) -> Self {
        let has = |modifier| modifiers.contains(&modifier);
        match () {
            () if has(Modifier::Contains) => Self::Contains,
            () if has(Modifier::StartsWith) => Self::StartsWith,
            () if has(Modifier::EndsWith) => Self::EndsWith,
            () => Self::Equal,
        }
    }

    /// Whether other text may stand before and after.
    const fn is_open(self) -> (bool, bool) {
        match self {
            Self::Equal | Self::Pattern => (false, false),
            Self::Contains => (true, true),
            Self::StartsWith => (false, true),
            Self::EndsWith => (true, false),
        }
    }

    const fn of_open(before: bool, after: bool) -> Self {
        match (before, after) {
            (false, false) => Self::Equal,
            (true, true) => Self::Contains,
            (false, true) => Self::StartsWith,
            (true, false) => Self::EndsWith,
        }
    }

    const fn modifier(self) -> Option<Modifier> {
        match self {
            Self::Equal => None,
            Self::Contains => Some(Modifier::Contains),
            Self::StartsWith => Some(Modifier::StartsWith),
            Self::EndsWith => Some(Modifier::EndsWith),
            Self::Pattern => Some(Modifier::Re),
        }
    }
}

/// A value that means the same with an operator of its own.
type Said = (Operator, SigmaValue);

/// A piece of a value.
#[derive(Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// Any text.
    Any,
    /// Any character.
    One,
    /// Any of [`DASHES`].
    Dash,
}

impl Rewriter<'_> {
    fn detection(&self, detection: Detection) -> Result<Detection, String> {
        match detection {
            Detection::AllOf(items) => self.all_of(items),
            Detection::AnyOf(parts) => self.each(parts).map(Detection::AnyOf),
            Detection::And(parts) => self.each(parts).map(Detection::And),
            Detection::Keywords(values) => self.all_of(vec![DetectionItem {
                field: FieldSpec::new(None, vec![Modifier::Contains]),
                values,
            }]),
            Detection::ArrayMatch { field, .. } => Err(format!(
                "{field} is asked for as a list; no field here is one"
            )),
            Detection::Conditional { .. } => {
                Err("a condition inside a selection is not known".to_owned())
            }
        }
    }

    fn each(&self, parts: Vec<Detection>) -> Result<Vec<Detection>, String> {
        parts.into_iter().map(|part| self.detection(part)).collect()
    }

    /// Items that stay one stay together; the engine is quickest with those.
    fn all_of(&self, items: Vec<DetectionItem>) -> Result<Detection, String> {
        let (mut simple, mut parts) = (Vec::new(), Vec::new());
        for item in items {
            match self.item(item)? {
                Detection::AllOf(items) => simple.extend(items),
                part => parts.push(part),
            }
        }
        if parts.is_empty() {
            return Ok(Detection::AllOf(simple));
        }
        if !simple.is_empty() {
            parts.insert(0, Detection::AllOf(simple));
        }
        Ok(Detection::And(parts))
    }

    fn item(&self, mut item: DetectionItem) -> Result<Detection, String> {
        let has = |modifier| item.field.modifiers.contains(&modifier);
        if has(Modifier::Expand) {
            let value = item.values.first();
            let value = value.map_or_else(String::new, ToString::to_string);
            // Taking it for nothing would have the rule fire on empty fields.
            return Err(format!("the placeholder {value} has no values here"));
        }
        if has(Modifier::FieldRef) {
            for value in &mut item.values {
                let column = self.column(Some(&value.to_string()));
                *value = SigmaValue::from_raw_string(&column.unwrap_or_default());
            }
        }
        item.field.name = self.column(item.field.name.as_deref());
        // These say what they mean by themselves, and a value of theirs is no text with wildcards.
        let is_plain = [
            Modifier::Re,
            Modifier::Cidr,
            Modifier::Exists,
            Modifier::FieldRef,
            Modifier::Gt,
            Modifier::Gte,
            Modifier::Lt,
            Modifier::Lte,
            Modifier::Minute,
            Modifier::Hour,
            Modifier::Day,
            Modifier::Week,
            Modifier::Month,
            Modifier::Year,
        ];
        if is_plain.into_iter().any(has) {
            return Ok(Detection::AllOf(vec![item]));
        }
        texts(item)
    }

    /// What stands for a field of that name. Names are compared as they are, as Sigma has it.
    fn column(&self, name: Option<&str>) -> Option<String> {
        let name = name?;
        let columns = self.source.columns.iter();
        let index = columns
            .map(|column| column.sigma)
            .position(|sigma| sigma == name);
        Some(index.map_or_else(|| NO_COLUMN.to_owned(), letter))
    }
}

/// An item that compares texts.
fn texts(item: DetectionItem) -> Result<Detection, String> {
    let modifiers = &item.field.modifiers;
    let has = |modifier| modifiers.contains(&modifier);
    let operator = Operator::of(modifiers);
    let is_all = has(Modifier::All);
    if is_all && item.values.len() < 2 {
        return Err("`all` asks for more than one value".to_owned());
    }
    let said: Result<Vec<Vec<Said>>, String> = item
        .values
        .iter()
        .map(|value| say(value, modifiers))
        .collect();
    let said = said?;
    let is_as_before = said.iter().zip(&item.values).all(|(said, value)| {
        matches!(&**said, [(said_operator, said_value)]
            if *said_operator == operator && said_value == value)
    });
    // The engine knows that an absent field is null where null is all that is asked for.
    let is_null_by_itself = item.values.len() == 1 || !item.values.contains(&SigmaValue::Null);
    if is_as_before && is_null_by_itself {
        return Ok(Detection::AllOf(vec![item]));
    }
    let kept: Vec<Modifier> = [Modifier::Cased, Modifier::Neq]
        .into_iter()
        .filter(|modifier| has(*modifier))
        .collect();
    let build = |said: Vec<Said>| alternatives(item.field.name.as_deref(), &kept, said);
    if !is_all {
        return Ok(build(said.into_iter().flatten().collect()));
    }
    if has(Modifier::Neq) {
        return Err("`all` with `neq` is not known".to_owned());
    }
    Ok(Detection::And(said.into_iter().map(build).collect()))
}

/// A field that is any of the values; with `neq` none of them.
fn alternatives(field: Option<&str>, kept: &[Modifier], said: Vec<Said>) -> Detection {
    let (null, said): (Vec<Said>, Vec<Said>) = said
        .into_iter()
        .partition(|(_, value)| *value == SigmaValue::Null);
    let mut groups = vec![(Operator::Equal, null)];
    for operator in Operator::ALL {
        let of_operator = said.iter().filter(|(own, _)| *own == operator);
        groups.push((operator, of_operator.cloned().collect()));
    }
    let mut items = Vec::new();
    for (operator, said) in groups {
        if said.is_empty() {
            continue;
        }
        let modifiers = operator.modifier().into_iter().chain(kept.iter().copied());
        items.push(DetectionItem {
            field: FieldSpec::new(field.map(str::to_owned), modifiers.collect()),
            values: said.into_iter().map(|(_, value)| value).collect(),
        });
    }
    if items.len() == 1 {
        return Detection::AllOf(items);
    }
    let parts = items.into_iter().map(|item| Detection::AllOf(vec![item]));
    if kept.contains(&Modifier::Neq) {
        Detection::And(parts.collect())
    } else {
        Detection::AnyOf(parts.collect())
    }
}

/// A value said in ways the engine has right; any of them.
fn say(value: &SigmaValue, modifiers: &[Modifier]) -> Result<Vec<Said>, String> {
    let has = |modifier| modifiers.contains(&modifier);
    let operator = Operator::of(modifiers);
    let SigmaValue::String(text) = value else {
        return Ok(vec![(operator, value.clone())]);
    };
    let is_cased = has(Modifier::Cased);
    let mut pieces = pieces(text);
    if has(Modifier::WindAsh) {
        pieces = with_dashes(pieces);
    }
    let written = write_dashes(pieces);
    let is_encoded = [
        Modifier::Base64,
        Modifier::Base64Offset,
        Modifier::Wide,
        Modifier::Utf16,
        Modifier::Utf16be,
    ];
    if !is_encoded.into_iter().any(has) {
        let said = written.into_iter();
        return Ok(said
            .map(|pieces| compare(pieces, operator, is_cased))
            .collect());
    }
    let mut said = Vec::new();
    for pieces in written {
        let [Piece::Text(text)] = &*pieces else {
            return Err(format!("a wildcard or a dash cannot be encoded: {value}"));
        };
        said.extend(encode(text, modifiers, operator));
    }
    Ok(said)
}

fn pieces(text: &SigmaString) -> Vec<Piece> {
    let parts = text.parts.iter();
    let pieces = parts.map(|part| match part {
        StringPart::Plain(text) => Piece::Text(text.clone()),
        StringPart::Special(SpecialChar::WildcardMulti) => Piece::Any,
        StringPart::Special(SpecialChar::WildcardSingle) => Piece::One,
    });
    pieces.collect()
}

/// A dash in the place of each that begins a word, as the reference implementation finds them:
/// `\B[-/]\b` in each piece.
fn with_dashes(pieces: Vec<Piece>) -> Vec<Piece> {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let mut dashed = Vec::new();
    for piece in pieces {
        let Piece::Text(text) = piece else {
            dashed.push(piece);
            continue;
        };
        let mut before = None;
        let mut plain = String::new();
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            let begins_word = matches!(character, '-' | '/')
                && !before.is_some_and(is_word)
                && characters.peek().copied().is_some_and(is_word);
            if begins_word {
                if !plain.is_empty() {
                    dashed.push(Piece::Text(std::mem::take(&mut plain)));
                }
                dashed.push(Piece::Dash);
            } else {
                plain.push(character);
            }
            before = Some(character);
        }
        if !plain.is_empty() {
            dashed.push(Piece::Text(plain));
        }
    }
    dashed
}

/// Each way to write the dashes, where they are few; texts that meet become one.
fn write_dashes(pieces: Vec<Piece>) -> Vec<Vec<Piece>> {
    let dash_count = pieces.iter().filter(|piece| **piece == Piece::Dash).count();
    if dash_count > DASHES_WRITTEN_MAX {
        return vec![pieces];
    }
    let mut written = vec![Vec::new()];
    for piece in pieces {
        if piece == Piece::Dash {
            let with = |so_far: &Vec<Piece>, dash: char| {
                let mut so_far = so_far.clone();
                push(&mut so_far, Piece::Text(dash.to_string()));
                so_far
            };
            let each = written.iter();
            written = each
                .flat_map(|so_far| DASHES.map(|dash| with(so_far, dash)))
                .collect();
        } else {
            for so_far in &mut written {
                push(so_far, piece.clone());
            }
        }
    }
    written
}

fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    match (pieces.last_mut(), piece) {
        (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
        (_, piece) => pieces.push(piece),
    }
}

/// A text compared whole, or a pattern where there are wildcards in the middle of it.
fn compare(mut pieces: Vec<Piece>, operator: Operator, is_cased: bool) -> Said {
    let (mut before, mut after) = operator.is_open();
    while pieces.first() == Some(&Piece::Any) {
        pieces.remove(0);
        before = true;
    }
    while pieces.last() == Some(&Piece::Any) {
        pieces.pop();
        after = true;
    }
    match &*pieces {
        [] if !before && !after => (operator, SigmaValue::from_raw_string("")),
        [Piece::Text(text)] => {
            let operator = Operator::of_open(before, after);
            (operator, SigmaValue::from_raw_string(text))
        }
        _ => {
            let pattern = pattern(&pieces, before, after, is_cased);
            (Operator::Pattern, SigmaValue::from_raw_string(&pattern))
        }
    }
}

/// A regular expression in which a wildcard does not stop at the end of a line.
fn pattern(pieces: &[Piece], before: bool, after: bool, is_cased: bool) -> String {
    let mut pattern = String::from(if is_cased { "(?s)" } else { "(?is)" });
    if !before {
        pattern.push_str("\\A");
    }
    for piece in pieces {
        match piece {
            Piece::Text(text) => escape(text, &mut pattern),
            Piece::Any => pattern.push_str(".*"),
            Piece::One => pattern.push('.'),
            Piece::Dash => {
                pattern.push_str("[-/\u{2013}\u{2014}\u{2015}]");
            }
        }
    }
    if !after {
        pattern.push_str("\\z");
    }
    pattern
}

/// Every ASCII character that could mean something in a pattern is escaped; any may be.
fn escape(text: &str, pattern: &mut String) {
    for character in text.chars() {
        if character.is_ascii_punctuation() {
            pattern.push('\\');
        }
        pattern.push(character);
    }
}

/// Characters that depend on what is before, by the place in a group of three bytes; and on what is after,
/// by the bytes of the last group.
const BEGIN_CUT: [usize; 3] = [0, 2, 3];
const END_CUT: [usize; 3] = [0, 3, 2];

/// A text as the bytes that the modifiers make of it, in Base64. Within other Base64 a text begins in one
/// of three places of a group; what depends on its neighbours there is cut off (the reference
/// implementation's numbers).
fn encode(text: &str, modifiers: &[Modifier], operator: Operator) -> Vec<Said> {
    let has = |modifier| modifiers.contains(&modifier);
    let little = || text.encode_utf16().flat_map(u16::to_le_bytes);
    let bytes: Vec<u8> = match () {
        () if has(Modifier::Wide) => little().collect(),
        () if has(Modifier::Utf16) => [0xff, 0xfe].into_iter().chain(little()).collect(),
        () if has(Modifier::Utf16be) => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        () => text.as_bytes().to_vec(),
    };
    if !has(Modifier::Base64Offset) {
        let encoded = if has(Modifier::Base64) {
            BASE64.encode(&bytes)
        } else {
            String::from_utf8_lossy(&bytes).into_owned()
        };
        return vec![(operator, SigmaValue::from_raw_string(&encoded))];
    }
    let mut said = Vec::new();
    for (offset, begin_cut) in BEGIN_CUT.into_iter().enumerate() {
        let moved = [vec![b' '; offset], bytes.clone()].concat();
        let encoded = BASE64.encode(&moved);
        let end_cut = END_CUT[moved.len() % 3];
        let whole = encoded.get(begin_cut..encoded.len().saturating_sub(end_cut));
        if let Some(whole) = whole.filter(|whole| !whole.is_empty()) {
            said.push((Operator::Contains, SigmaValue::from_raw_string(whole)));
        }
    }
    said
}
