//! The rule of the configuration that kept an event.

use std::sync::Arc;

use crate::Text;
use crate::schema::fields;

fields! {
    /// What the rule that kept an event says of it.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct KeptBy {
        /// the name of the include rule that kept the event, the first of those that match
        rule_name: Option<Arc<str>> => MaybePlainText in Noted since 3, ecs "rule.name";
        /// that rule's tags
        tags: Option<Arc<[Text]>> => MaybeTexts in Noted since 3, ecs "tags";
    }
}
