//! What a rule found in an event.

use std::borrow::Cow;
use std::sync::Arc;

use crate::Text;
use crate::schema::fields;

fields! {
    /// A rule matched an event. It is of the process that the event is about.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Detection {
        /// the `sequence` of the event that matched, in the same run
        matched_sequence: u64 => Number in Row since 3;
        /// the rule's own id
        rule_id: Option<Arc<str>> => MaybePlainText in Row since 3, ecs "rule.id", ocsf "finding_info.uid";
        /// what the rule says it finds
        rule_title: Arc<str> => PlainText in Row since 3, ecs "rule.name", ocsf "finding_info.title";
        /// how bad it is: `informational`, `low`, `medium`, `high`, `critical`
        rule_level: Cow<'static, str> => PlainText in Row since 3;
        /// who wrote the rule
        rule_author: Option<Arc<str>> => MaybePlainText in Row since 3, ecs "rule.author";
        /// what the rule is filed under: `attack.execution`, `attack.t1059.004`
        rule_tags: Option<Arc<[Text]>> => MaybeTexts in Row since 3;
    }
}
