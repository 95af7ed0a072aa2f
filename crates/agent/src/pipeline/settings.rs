//! What a recording is told before it starts.

use std::sync::Arc;
use std::time::Duration;

use super::scope::Scope;
use super::stage::Stage;
use crate::alert::Alerts;
use crate::enrich::Limits;
use crate::environment::Names;
use crate::image_hash::ImageHashes;
use crate::rules::Rules;
use crate::store::Hold;

/// What a recording is told before it starts.
#[derive(Debug)]
pub struct Settings {
    /// The machine's name, in every event.
    pub host: Arc<str>,
    /// The machine's own id, in every event.
    pub host_id: Option<Arc<str>>,
    /// The id of this boot, in every process key.
    pub boot_id: [u8; 16],
    /// Which events to keep.
    pub rules: Rules,
    /// Whether process events are kept; sensors observe them in any case.
    pub process_events: bool,
    /// Whose events are kept; everybody's without.
    pub scope: Option<Scope>,
    /// What looks at the events that are kept.
    pub stage: Option<Box<dyn Stage>>,
    /// Has a command run for what it finds.
    pub alerts: Option<Alerts>,
    /// Tells the hashes of images.
    pub hashes: Option<ImageHashes>,
    /// What is needed of the store, and went all the same.
    pub hold: Option<Arc<Hold>>,
    /// How long nothing is said until it is said that the recording goes on.
    pub heartbeat: Option<Duration>,
    /// The variables of a program's environment that are told.
    pub environment: Names,
    /// What enrichment may remember.
    pub limits: Limits,
    /// How long a sink that takes nothing holds up the others.
    pub patience: Duration,
}
