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
        .filter(|&(distance, candidate)| distance <= near(candidate.chars().count()))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// How many slips there may be in a name of so many characters: one in a short one, which would
/// else be near to anything.
fn near(count: usize) -> usize {
    (count / 4).max(1)
}

/// How many characters to insert, remove or replace, or neighbours to exchange, to turn one text
/// into the other.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    let mut last = None;
    for (at_left, from) in left.chars().enumerate() {
        let mut next = vec![at_left + 1];
        for (at_right, to) in right.iter().enumerate() {
            let replaced = row[at_right] + usize::from(from != *to);
            let edited = replaced.min(row[at_right + 1] + 1).min(next[at_right] + 1);
            let is_exchange = last == Some(*to) && at_right > 0 && right[at_right - 1] == from;
            let exchanged = before.get(at_right.wrapping_sub(1)).filter(|_| is_exchange);
            next.push(exchanged.map_or(edited, |count| edited.min(count + 1)));
        }
        before = std::mem::replace(&mut row, next);
        last = Some(from);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::closest;

    const KNOWN: [&str; 5] = ["kind", "time", "process_id", "command_line", "rotate_size"];

    /// `pid` was near to `kind`.
    #[test]
    fn what_is_really_near_is_suggested_and_nothing_else() {
        for (mistyped, meant) in [
            ("kimd", "kind"),
            ("tmie", "time"),
            ("tim", "time"),
            ("proces_ID", "process_id"),
            ("comand_lien", "command_line"),
            ("rotate_sise", "rotate_size"),
        ] {
            let mistyped = mistyped.to_lowercase();
            assert_eq!(closest(&mistyped, &KNOWN), Some(meant), "{mistyped}");
        }
        for other in ["pid", "id", "ppid", "x", "", "name", "size", "line", "mine"] {
            assert_eq!(closest(other, &KNOWN), None, "{other}");
        }
    }
}
