//! The library of `systrail`: sensors, enrichment, pipeline, sinks. It never prints, exits or reads
//! arguments; that is `main.rs` and `cli.rs`.
//!
//! Read `pipeline.rs` first: sensor -> enrich -> sinks.

#![deny(unsafe_code)]

pub mod alert;
pub mod config;
pub mod detect;
pub mod doctor;
pub mod dos_path;
pub mod enrich;
pub mod environment;
pub mod export;
pub mod forward;
mod history;
pub mod image_hash;
pub mod import_sysmon;
pub mod job;
pub mod metrics;
pub mod moment;
mod page;
pub mod pipeline;
pub mod quantity;
pub mod query;
pub mod replay;
pub mod rules;
pub mod sensor;
pub mod service;
pub mod shown;
pub mod sink;
pub mod store;
pub mod story;
mod suggestion;
pub mod sys;
#[cfg(all(feature = "top", target_os = "linux"))]
pub mod top;
pub mod tree;
mod trust;
#[cfg(feature = "web")]
pub mod web;
pub mod zone;

pub use trail::{self, account};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
