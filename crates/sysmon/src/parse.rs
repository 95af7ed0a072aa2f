//! The XML of a configuration: what Sysmon's `xml.cpp` takes, and refuses.

use roxmltree::{Document, Node, NodeType, ParsingOptions};

use crate::{
    Condition, Configuration, EventKind, Item, OnMatch, Operator, Other, Relation, Rule, Schema,
    Section,
};

/// The most nodes of a document; each takes memory whatever it says.
pub const NODES_MAX: u32 = 500_000;

/// How deep elements may stand in one another; a configuration needs six.
pub const DEPTH_MAX: usize = 32;

/// The most characters of a name, as Sysmon has it.
pub const NAME_MAX: usize = 255;

/// The most findings that are told of one document.
const FINDINGS_MAX: usize = 100;

/// Why a configuration is refused: everything that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub Vec<(u32, Refusal)>);

/// What is wrong with a line. Sysmon refuses each of these as well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No well-formed XML, or too much of it.
    #[error("{0}")]
    Xml(String),
    /// Entities are a way to make gigabytes of a few lines.
    #[error("a document type (<!DOCTYPE>) is not read, for what entities can do; remove it")]
    DocumentType,
    /// Elements in elements in elements.
    #[error("elements are more than {DEPTH_MAX} deep in one another")]
    TooDeep,
    /// Another document.
    #[error("the document is <{0}>; a configuration is <Sysmon schemaversion=\"...\">")]
    NotSysmon(String),
    /// No version, or none that is one.
    #[error("schemaversion {0:?}; it must be a number such as 4.90")]
    SchemaVersion(String),
    /// A version of which nothing is known.
    #[error("schema {0}; known are 3.x and 4.x, write one of these")]
    UnknownSchema(String),
    /// Include or exclude?
    #[error("<{element}> without onmatch; it must be \"include\" or \"exclude\"")]
    NoOnMatch {
        /// The section.
        element: &'static str,
    },
    /// An attribute with a value that it cannot have.
    #[error("{attribute}={value:?}; it must be {allowed}")]
    Attribute {
        /// The attribute.
        attribute: &'static str,
        /// What stands there.
        value: String,
        /// What may stand there.
        allowed: &'static str,
    },
    /// A field that events of the kind have not.
    #[error("<{field}> is no field of {kind}")]
    UnknownField {
        /// What stands there.
        field: String,
        /// The kind.
        kind: &'static str,
    },
    /// Neither a kind nor a group of them.
    #[error("<{0}> inside <{1}>, where Sysmon takes no element")]
    Misplaced(String, String),
    /// A name that Sysmon has no room for.
    #[error("a name of {0} characters; at most {NAME_MAX} are allowed")]
    LongName(usize),
}

const RELATIONS: [(&str, Relation); 2] = [("or", Relation::Or), ("and", Relation::And)];
const ON_MATCH: [(&str, OnMatch); 2] =
    [("include", OnMatch::Include), ("exclude", OnMatch::Exclude)];
/// What the attribute of old schemas says: what becomes of the events that do not match.
const DEFAULT: [(&str, OnMatch); 2] =
    [("include", OnMatch::Exclude), ("exclude", OnMatch::Include)];

impl Configuration {
    /// Understands a document.
    ///
    /// # Errors
    /// Where Sysmon would refuse it; every finding with its line, as far as it could be read on.
    pub fn parse(xml: &str) -> Result<Self, Invalid> {
        let options = ParsingOptions {
            allow_dtd: false,
            nodes_limit: NODES_MAX,
            ..ParsingOptions::default()
        };
        let one = |line, refusal| Invalid(vec![(line, refusal)]);
        let lines = Lines::new(xml);
        check_depth(xml).map_err(|offset| one(lines.line(offset), Refusal::TooDeep))?;
        let document = Document::parse_with_options(xml, options).map_err(|error| {
            let refusal = match error {
                roxmltree::Error::DtdDetected => Refusal::DocumentType,
                ref other => Refusal::Xml(other.to_string()),
            };
            one(error.pos().row, refusal)
        })?;
        let mut reader = Reader {
            document: &document,
            lines,
            findings: Vec::new(),
        };
        let configuration = reader.configuration();
        match configuration {
            Some(configuration) if reader.findings.is_empty() => Ok(configuration),
            _ => Err(Invalid(reader.findings)),
        }
    }
}

/// Refuses elements that are too deep in one another before a tree is made of them: what works through
/// a tree by calling itself has no limit of its own. Tells the offset of the one that is too deep.
fn check_depth(xml: &str) -> Result<(), usize> {
    let mut depth = 0_usize;
    let mut rest = xml;
    while let Some((_, tag)) = rest.split_once('<') {
        let begin = xml.len() - tag.len() - 1;
        let end = match tag {
            _ if tag.starts_with("!--") => tag.find("-->"),
            _ if tag.starts_with("![CDATA[") => tag.find("]]>"),
            _ => end_of_tag(tag),
        };
        let Some((inside, behind)) = end.and_then(|end| tag.split_at_checked(end)) else {
            return Ok(());
        };
        match inside.as_bytes() {
            [b'!' | b'?', ..] | [.., b'/'] => {}
            [b'/', ..] => depth = depth.saturating_sub(1),
            _ => depth += 1,
        }
        if depth > DEPTH_MAX {
            return Err(begin);
        }
        rest = behind;
    }
    Ok(())
}

/// Where the `>` of a tag is: not one in the value of an attribute.
fn end_of_tag(tag: &str) -> Option<usize> {
    let mut quote = None;
    tag.bytes().position(|byte| {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
        quote.is_none() && byte == b'>'
    })
}

/// Where lines begin. Counting them anew for every node would take hours for a large file.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(ends.map(|(offset, _)| offset).collect())
    }

    /// The line of an offset, counted from 1.
    fn line(&self, offset: usize) -> u32 {
        let before = self.0.partition_point(|end| *end < offset);
        u32::try_from(before + 1).unwrap_or(u32::MAX)
    }
}

struct Reader<'d> {
    document: &'d Document<'d>,
    lines: Lines,
    findings: Vec<(u32, Refusal)>,
}

/// What a section has from the group it stands in.
#[derive(Clone, Copy)]
struct Group<'d> {
    relation: Relation,
    name: Option<&'d str>,
}

impl<'d> Reader<'d> {
    fn configuration(&mut self) -> Option<Configuration> {
        let root = self.document.root_element();
        if root.tag_name().name() != "Sysmon" {
            let name = root.tag_name().name().to_owned();
            self.refuse(root, Refusal::NotSysmon(name));
            return None;
        }
        let schema = self.schema(root)?;
        let mut configuration = Configuration {
            schema,
            sections: Vec::new(),
            others: Vec::new(),
        };
        for node in elements(root) {
            if node.tag_name().name() == "EventFiltering" {
                self.filtering(node, &mut configuration);
            } else {
                configuration.others.push(self.other(node));
            }
        }
        Some(configuration)
    }

    fn schema(&mut self, root: Node<'d, 'd>) -> Option<Schema> {
        let written = root.attribute("schemaversion").unwrap_or_default();
        let Some(schema) = schema(written) else {
            self.refuse(root, Refusal::SchemaVersion(written.to_owned()));
            return None;
        };
        if !matches!(schema.major, 3 | 4) {
            self.refuse(root, Refusal::UnknownSchema(written.to_owned()));
            return None;
        }
        Some(schema)
    }

    fn filtering(&mut self, node: Node<'d, 'd>, configuration: &mut Configuration) {
        let default = Group {
            relation: configuration.schema.default_relation(),
            name: None,
        };
        for node in elements(node) {
            if node.tag_name().name() == "RuleGroup" {
                let group = Group {
                    relation: self
                        .choice(node, "groupRelation", &RELATIONS, "\"and\" or \"or\"")
                        .unwrap_or(default.relation),
                    name: self.name(node, None),
                };
                for node in elements(node) {
                    self.section(node, group, configuration);
                }
            } else {
                self.section(node, default, configuration);
            }
        }
    }

    fn section(&mut self, node: Node<'d, 'd>, group: Group<'d>, configuration: &mut Configuration) {
        let Some(kind) = EventKind::from_element(node.tag_name().name()) else {
            configuration.others.push(self.other(node));
            return;
        };
        let allowed = "\"include\" or \"exclude\"";
        let told = ["onmatch", "default"].map(|attribute| node.has_attribute(attribute));
        let on_match = match told {
            [true, _] => self.choice(node, "onmatch", &ON_MATCH, allowed),
            [false, true] => self.choice(node, "default", &DEFAULT, allowed),
            [false, false] => {
                let element = kind.element();
                self.refuse(node, Refusal::NoOnMatch { element });
                None
            }
        };
        let items = elements(node).filter_map(|node| self.item(node, kind, group.name));
        let items = items.collect();
        let Some(on_match) = on_match else { return };
        configuration.sections.push(Section {
            kind,
            on_match,
            relation: group.relation,
            items,
            line: self.line(node),
        });
    }

    fn item(&mut self, node: Node<'d, 'd>, kind: EventKind, name: Option<&'d str>) -> Option<Item> {
        if !node.tag_name().name().eq_ignore_ascii_case("rule") {
            return self.condition(node, kind, name).map(Item::Condition);
        }
        let relation = self.choice(node, "groupRelation", &RELATIONS, "\"and\" or \"or\"");
        let name = self.name(node, name);
        let conditions = elements(node).filter_map(|node| self.condition(node, kind, name));
        let rule = Rule {
            relation: relation.unwrap_or(Relation::Or),
            says_relation: relation.is_some(),
            conditions: conditions.collect(),
            line: self.line(node),
        };
        // Of a rule without a condition Sysmon keeps nothing.
        (!rule.conditions.is_empty()).then_some(Item::Rule(rule))
    }

    fn condition(
        &mut self,
        node: Node<'d, 'd>,
        kind: EventKind,
        name: Option<&'d str>,
    ) -> Option<Condition> {
        let element = node.tag_name().name();
        let fields = kind.fields().iter();
        let Some(field) = fields.copied().find(|field| *field == element) else {
            let refusal = Refusal::UnknownField {
                field: element.to_owned(),
                kind: kind.element(),
            };
            self.refuse(node, refusal);
            return None;
        };
        if let Some(inner) = elements(node).next() {
            let inner_name = inner.tag_name().name().to_owned();
            self.refuse(inner, Refusal::Misplaced(inner_name, element.to_owned()));
        }
        let Some(operator) = Operator::from_name(node.attribute("condition")) else {
            let refusal = Refusal::Attribute {
                attribute: "condition",
                value: node.attribute("condition").unwrap_or_default().to_owned(),
                allowed: "one that Sysmon knows, such as \"is\" or \"contains any\"",
            };
            self.refuse(node, refusal);
            return None;
        };
        let texts = node
            .children()
            .filter(|child| child.node_type() == NodeType::Text);
        let value: String = texts.filter_map(|child| child.text()).collect();
        Some(Condition {
            field,
            operator,
            value,
            name: self.name(node, name).map(str::to_owned),
            line: self.line(node),
        })
    }

    /// The name of a node: its own, though that be empty, else that of what it stands in.
    fn name(&mut self, node: Node<'d, 'd>, outer: Option<&'d str>) -> Option<&'d str> {
        let Some(own) = node.attribute("name") else {
            return outer;
        };
        let size = own.chars().count();
        if size > NAME_MAX {
            self.refuse(node, Refusal::LongName(size));
        }
        Some(own).filter(|name| !name.is_empty())
    }

    fn choice<T: Copy>(
        &mut self,
        node: Node<'d, 'd>,
        attribute: &'static str,
        choices: &[(&str, T)],
        allowed: &'static str,
    ) -> Option<T> {
        let value = node.attribute(attribute)?;
        let is_named = |(name, _): &&(&str, T)| name.eq_ignore_ascii_case(value);
        let chosen = choices.iter().find(is_named).map(|&(_, choice)| choice);
        if chosen.is_none() {
            let value = value.to_owned();
            self.refuse(
                node,
                Refusal::Attribute {
                    attribute,
                    value,
                    allowed,
                },
            );
        }
        chosen
    }

    fn other(&self, node: Node<'d, 'd>) -> Other {
        let inner = node.descendants().filter(Node::is_element);
        let is_condition = |node: &Node<'_, '_>| elements(*node).next().is_none();
        Other {
            element: node.tag_name().name().to_owned(),
            condition_count: inner.skip(1).filter(is_condition).count(),
            line: self.line(node),
        }
    }

    fn refuse(&mut self, node: Node<'d, 'd>, refusal: Refusal) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push((self.line(node), refusal));
        }
    }

    fn line(&self, node: Node<'d, 'd>) -> u32 {
        self.lines.line(node.range().start)
    }
}

fn elements<'d>(node: Node<'d, 'd>) -> impl Iterator<Item = Node<'d, 'd>> {
    node.children().filter(Node::is_element)
}

/// As Sysmon reads it: a number, of which two decimals count.
fn schema(text: &str) -> Option<Schema> {
    let text = text.trim();
    let (major, minor) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(major) || !is_number(minor) || minor.len() > 2 {
        return None;
    }
    let tens = if minor.len() == 1 { 10 } else { 1 };
    let minor = if minor.is_empty() {
        0
    } else {
        minor.parse::<u16>().ok()? * tens
    };
    Some(Schema {
        major: major.parse().ok()?,
        minor,
    })
}
