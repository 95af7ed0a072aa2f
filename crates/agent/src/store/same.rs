//! What comes again as the very same: texts and commands by their place in memory, notes by what they
//! say. Most texts of events are where the caches of the agent have them, so nobody need look at their
//! bytes.

use crate::trail::{Event, Name, Text};

/// Texts that are remembered. A power of two, like the next.
const TEXT_COUNT: usize = 512;

/// Commands that are remembered.
const COMMAND_COUNT: usize = 128;

/// Bytes of a text or a command line at most: what is remembered stays in memory.
const SIZE_MAX: usize = 1_024;

/// Arguments of a command at most.
const ARGUMENT_COUNT_MAX: usize = 32;

/// Notes that are remembered, those of the last events.
const NOTES_COUNT: usize = 4;

/// The numbers of what was seen lately. What has the same place as another takes it.
#[derive(Debug)]
pub(super) struct Same {
    texts: Vec<Option<(Text, i64)>>,
    commands: Vec<Option<Command>>,
    notes: Vec<Notes>,
}

impl Same {
    pub(super) fn new() -> Self {
        Self {
            texts: vec![None; TEXT_COUNT],
            commands: vec![None; COMMAND_COUNT],
            notes: Vec::new(),
        }
    }

    /// The number of a text.
    #[inline]
    pub(super) fn text(&self, text: &Text) -> Option<i64> {
        let known = self.texts.get(place_of(text) % TEXT_COUNT)?.as_ref();
        known
            .filter(|(known, _)| known.is_one_with(text))
            .map(|(_, id)| *id)
    }

    pub(super) fn learn_text(&mut self, text: &Text, id: i64) {
        if let Some(known) = self.texts.get_mut(place_of(text) % TEXT_COUNT)
            && text.size() <= SIZE_MAX
        {
            *known = Some((text.clone(), id));
        }
    }

    /// The number of a command.
    pub(super) fn command(&self, line: &Text, arguments: &[Text]) -> Option<i64> {
        let known = self.commands.get(place_of(line) % COMMAND_COUNT)?.as_ref();
        known
            .filter(|known| known.is_of(line, arguments))
            .map(|known| known.id)
    }

    pub(super) fn learn_command(&mut self, line: &Text, arguments: &[Text], id: i64) {
        if let Some(known) = self.commands.get_mut(place_of(line) % COMMAND_COUNT)
            && line.size() <= SIZE_MAX
            && arguments.len() <= ARGUMENT_COUNT_MAX
        {
            *known = Some(Command {
                line: line.clone(),
                arguments: arguments.into(),
                id,
            });
        }
    }

    /// The number of an event's notes.
    pub(super) fn notes(&self, event: &Event) -> Option<i64> {
        let mut known = self.notes.iter();
        let found = known.find(|known| known.is_of(event))?;
        is_plain(event).then_some(found.id)
    }

    pub(super) fn learn_notes(&mut self, event: &Event, id: i64) {
        if is_plain(event) {
            self.notes.truncate(NOTES_COUNT - 1);
            self.notes.insert(
                0,
                Notes {
                    truncated: event.truncated.clone(),
                    missing: event.missing.clone(),
                    id,
                },
            );
        }
    }
}

/// The command of a program that was told before: a child runs its parent's.
#[derive(Clone, Debug)]
struct Command {
    line: Text,
    arguments: Box<[Text]>,
    id: i64,
}

impl Command {
    fn is_of(&self, line: &Text, arguments: &[Text]) -> bool {
        let mut pairs = self.arguments.iter().zip(arguments);
        self.line.is_one_with(line)
            && self.arguments.len() == arguments.len()
            && pairs.all(|(known, argument)| known.is_one_with(argument))
    }
}

/// What many events say was cut, and is missing.
#[derive(Debug)]
struct Notes {
    truncated: Vec<Name>,
    missing: Vec<(Name, Name)>,
    id: i64,
}

impl Notes {
    fn is_of(&self, event: &Event) -> bool {
        self.truncated == event.truncated && self.missing == event.missing
    }
}

/// Whether its notes say no more than that.
fn is_plain(event: &Event) -> bool {
    event.further.is_empty() && event.kept_by.is_none() && !event.body.has_noted()
}

/// A number by which a text's place in memory is looked for. What is allocated begins at a multiple of
/// 16.
fn place_of(text: &Text) -> usize {
    let place = text.shown().as_ptr().addr();
    (place >> 4) ^ (place >> 13)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_in_other_places_are_not_the_same() {
        let mut same = Same::new();
        let text = Text::from("/usr/bin/cc");
        same.learn_text(&text, 7);
        assert_eq!(same.text(&text.clone()), Some(7));
        assert_eq!(same.text(&Text::from("/usr/bin/cc")), None);
        let long = Text::from(&*"a".repeat(SIZE_MAX + 1));
        same.learn_text(&long, 8);
        assert_eq!(same.text(&long), None, "it would stay in memory");
    }

    #[test]
    fn a_command_is_the_same_with_its_very_arguments_only() {
        let mut same = Same::new();
        let line = Text::from("cc -c");
        let arguments = [Text::from("cc"), Text::from("-c")];
        same.learn_command(&line, &arguments, 3);
        assert_eq!(same.command(&line, &arguments.clone()), Some(3));
        assert_eq!(same.command(&line, &arguments[..1]), None);
        let others = [arguments[0].clone(), Text::from("-c")];
        assert_eq!(same.command(&line, &others), None);
        same.learn_command(&line, &others, 4);
        assert_eq!(same.command(&line, &others), Some(4));
    }
}
