//! Conditions ready to be asked.

use super::conditions::{Conditions, FieldCondition};
use super::field::{Field, LOADED_IMAGE, LOADED_SCOPE};
use super::pattern::{Form, Pattern, PatternSet, System, TooLarge};
use super::values::{FIELDS_MAX, Known, Places, Values, matches};
use crate::trail::value::Value;
use crate::trail::{Program, Setting, Text};

/// What [`Conditions::path_scope`] calls the tree of the host, whose paths have no mark.
pub const HOST_SCOPE: &str = "host";

/// Whether a condition is met, in the order in which one outweighs the other where all have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Truth {
    /// It is not.
    No,
    /// The event will tell.
    Later,
    /// Nobody can say.
    Unsure,
    /// It is.
    Yes,
}

impl Truth {
    const fn of(is_met: bool) -> Self {
        if is_met { Self::Yes } else { Self::No }
    }

    const fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            undecided => undecided,
        }
    }

    /// That of "both".
    fn and(self, other: Self) -> Self {
        self.min(other)
    }

    /// That of "at least one".
    fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }
}

/// Conditions, compiled.
#[derive(Clone, Debug)]
pub(super) enum Node {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Field {
        place: usize,
        patterns: PatternSet,
    },
    Path(PathNode),
    /// A user goes by a name and by an id.
    User {
        name: usize,
        id: usize,
        patterns: PatternSet,
    },
}

/// What is asked of a path.
#[derive(Clone, Debug)]
pub(super) struct PathNode {
    place: usize,
    /// Where its scope is, for a path of which one is told.
    scope: Option<usize>,
    patterns: PatternSet,
    scopes: PatternSet,
    /// Whose paths these are.
    system: System,
}

/// Why conditions could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Patterns that are right each by itself make too large a matcher together.
    #[error("the patterns of one condition are too large together: {0}")]
    TooLarge(#[from] TooLarge),
    /// More than rules may ask for.
    #[error("more than {FIELDS_MAX} different fields are asked for")]
    TooManyFields,
}

impl Node {
    pub(super) fn new(conditions: &Conditions, places: &mut Places) -> Result<Self, NodeError> {
        let mut nodes = Vec::new();
        for condition in &conditions.fields {
            nodes.push(Self::field(condition, conditions, places)?);
        }
        if !conditions.path_scope.is_empty() && !conditions.asks_for_path() {
            let (field, scopes) = (Program::image.name, &*conditions.path_scope);
            let node = PathNode::new(field, Some(Program::path_scope.name), [&[], scopes], places)?;
            nodes.push(Self::Path(node));
        }
        for group in &conditions.all {
            nodes.push(Self::new(group, places)?);
        }
        let any: Result<Vec<Self>, _> = conditions
            .any
            .iter()
            .map(|group| Self::new(group, places))
            .collect();
        if !conditions.any.is_empty() {
            nodes.push(Self::Any(any?));
        }
        for group in &conditions.not {
            nodes.push(Self::Not(Box::new(Self::new(group, places)?)));
        }
        Ok(Self::All(nodes))
    }

    fn field(
        condition: &FieldCondition,
        beside: &Conditions,
        places: &mut Places,
    ) -> Result<Self, NodeError> {
        let FieldCondition { field, patterns } = condition;
        if field.is_path() {
            let scope = scope_of(field.name);
            let scopes = if field.has_path_scope() {
                &*beside.path_scope
            } else {
                &[]
            };
            // A rule that asks for the scope by its own name has said of which tree it speaks.
            let is_asked = |scope: &&str| beside.of_field(scope).next().is_some();
            let scope = scope.filter(|scope| !is_asked(scope));
            return PathNode::new(field.name, scope, [patterns, scopes], places).map(Self::Path);
        }
        let mut place = |name, is_of_program| {
            let place = places.of(name, is_of_program);
            place.ok_or(NodeError::TooManyFields)
        };
        let patterns = PatternSet::of(field.form(), patterns)?;
        if field.name == Program::user.name {
            return Ok(Self::User {
                name: place(Program::user.name, true)?,
                id: place(Program::user_id.name, true)?,
                patterns,
            });
        }
        Ok(Self::Field {
            place: place(field.name, field.is_of_program)?,
            patterns,
        })
    }

    /// Whether they are met.
    pub(super) fn truth(&self, values: &Values<'_, '_>) -> Truth {
        match self {
            Self::All(nodes) => joined(nodes, values, Truth::No, Truth::and),
            Self::Any(nodes) => joined(nodes, values, Truth::Yes, Truth::or),
            Self::Not(node) => node.truth(values).not(),
            Self::Field { place, patterns } => of_value(values.get(*place), patterns),
            Self::Path(path) => path.truth(values),
            Self::User { name, id, patterns } => {
                let name = of_value(values.get(*name), patterns);
                name.or(of_value(values.get(*id), patterns))
            }
        }
    }
}

/// The nodes joined, until one decides.
fn joined(
    nodes: &[Node],
    values: &Values<'_, '_>,
    decisive: Truth,
    join_fn: fn(Truth, Truth) -> Truth,
) -> Truth {
    let mut truth = decisive.not();
    for node in nodes {
        truth = join_fn(truth, node.truth(values));
        if truth == decisive {
            break;
        }
    }
    truth
}

fn of_value(known: Known<'_>, patterns: &PatternSet) -> Truth {
    match known {
        Known::Later => Truth::Later,
        Known::Unsure => Truth::Unsure,
        Known::Absent => Truth::No,
        Known::Is(value) => Truth::of(matches(patterns, value)),
    }
}

impl PathNode {
    fn new(
        field: &'static str,
        scope: Option<&'static str>,
        [patterns, scopes]: [&[Pattern]; 2],
        places: &mut Places,
    ) -> Result<Self, NodeError> {
        let is_of_program = Field::named(field).is_some_and(|field| field.is_of_program);
        let mut place = |name| {
            let place = places.of(name, is_of_program);
            place.ok_or(NodeError::TooManyFields)
        };
        Ok(Self {
            place: place(field)?,
            scope: scope.map(place).transpose()?,
            patterns: PatternSet::of(Form::Path, patterns)?,
            scopes: PatternSet::of(Form::Text, scopes)?,
            system: patterns
                .iter()
                .chain(scopes)
                .next()
                .map_or(System::HERE, |it| it.system),
        })
    }

    /// A path that was cut cannot be judged, nor one that is not in the host's tree where the rule does
    /// not say of which it speaks: whoever chooses such a path shall not hide by it.
    fn truth(&self, values: &Values<'_, '_>) -> Truth {
        let path = match values.get(self.place) {
            Known::Is(Value::SystemText(path)) => path,
            Known::Is(_) | Known::Absent => return Truth::No,
            Known::Later => return Truth::Later,
            Known::Unsure => return Truth::Unsure,
        };
        let scope = match self.scope.map(|scope| values.get(scope)) {
            Some(Known::Is(Value::Text(scope))) => Some(scope),
            _ => None,
        };
        let cannot_judge = match scope {
            Some(_) => self.scopes.is_empty(),
            None => self.system == System::Unix && is_cut(path),
        };
        if cannot_judge {
            return Truth::Unsure;
        }
        let scope = scope.unwrap_or(HOST_SCOPE).as_bytes();
        let is_there = self.scopes.is_empty() || self.scopes.matches(scope);
        let is_it = self.patterns.is_empty() || self.patterns.matches(path.as_bytes());
        Truth::of(is_there && is_it)
    }
}

/// The field with the scope of a path.
fn scope_of(path: &str) -> Option<&'static str> {
    match path {
        LOADED_IMAGE => Some(LOADED_SCOPE),
        path if path == Program::image.name => Some(Program::path_scope.name),
        path if path == Program::script.name => Some(Program::script_scope.name),
        path if path == Setting::working_directory.name => {
            Some(Setting::working_directory_scope.name)
        }
        _ => None,
    }
}

/// Whether the begin of a path is missing; Windows' are cut at their end, if at all.
fn is_cut(path: &Text) -> bool {
    !path.as_bytes().starts_with(b"/")
}
