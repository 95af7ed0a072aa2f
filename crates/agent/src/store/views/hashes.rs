//! Hashes that were not known yet when an event was told: `image_details` told them later.
//!
//! What it says is of every event before it that said `pending` of the same file and is not older than the
//! file's last change. The first such row is the one: the file may change again.

use super::segment::member;
use crate::trail::{ExecDetails, ImageDetails, ImageLoad, missing};

/// The columns that are completed.
pub(super) const COLUMNS: [&str; 2] = [ExecDetails::sha256.name, ExecDetails::build_id.name];

/// A column of the event `e`, whose notes have the number `notes`, and whose file is in the row of the table
/// `shared` that it refers to.
pub(super) fn completed(column: &str, notes: &str, shared: &str) -> String {
    let told = member(notes, column);
    let reason = member(notes, &format!("missing.{column}"));
    let (device, inode) = (ImageLoad::device.name, ImageLoad::inode.name);
    let changed = ImageDetails::change_time_ns.name;
    format!(
        "coalesce({told}, CASE WHEN {reason} = '{}' THEN \
         (SELECT (SELECT text FROM @strings WHERE id = d.{column}) \
          FROM @{shared} AS f JOIN @image_details AS d \
          ON d.{inode} = f.{inode} AND d.{device} = f.{device} \
          WHERE f.id = e.{shared} AND d.id > e.id AND d.{changed} <= e.time \
          ORDER BY d.id LIMIT 1) END)",
        missing::PENDING
    )
}
