//! Detections: Sigma rules, tried on every event they are about.
//!
//! Rules are other people's files, so nothing of them is believed: `folder` reads them within limits,
//! `rule_set` refuses what cannot be understood and names it, `rewrite` puts right what the engine
//! (`rsigma-eval`) has wrong, and `detector` switches off a rule that takes too long. `taxonomy` is the
//! one table of what rules call our fields. A rule fires on what its product and category say and on
//! nothing else.

#[cfg(feature = "detect")]
mod can_fire;
#[cfg(feature = "detect")]
mod detector;
#[cfg(feature = "detect")]
mod folder;
mod level;
#[cfg(feature = "detect")]
mod loading;
#[cfg(feature = "detect")]
mod reload;
#[cfg(feature = "detect")]
mod rewrite;
#[cfg(feature = "detect")]
mod rule_set;
#[cfg(feature = "detect")]
mod taxonomy;
#[cfg(all(test, feature = "detect"))]
mod tests;
#[cfg(feature = "detect")]
mod verdicts;
#[cfg(feature = "detect")]
mod view;

pub use level::Level;

#[cfg(feature = "detect")]
pub use detector::Detector;
#[cfg(feature = "detect")]
pub use folder::FolderError;
#[cfg(feature = "detect")]
pub use reload::{INTERVAL, Reloading, Watched};
#[cfg(feature = "detect")]
pub use rule_set::{Refused, RuleSet, Tally};
