//! What a mistyped name most likely stands for.

/// No name that is known is nearly as long.
const NAME_SIZE_MAX: usize = 256;

/// The known name a mistyped one most likely stands for.
pub(crate) fn closest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    // The names there are are short; comparing them with a megabyte would take its time.
    if name.len() > NAME_SIZE_MAX {
        return None;
    }
    known
        .iter()
        .map(|&candidate| (distance(name, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= candidate.chars().count() / 3 + 1)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// How many characters to insert, remove or replace to turn one text into the other (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (at_left, from) in left.chars().enumerate() {
        let mut diagonal = at_left;
        if let Some(first) = row.first_mut() {
            *first = at_left + 1;
        }
        for (at_right, to) in right.chars().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[at_right + 1];
            row[at_right + 1] = replaced.min(diagonal + 1).min(row[at_right] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}
