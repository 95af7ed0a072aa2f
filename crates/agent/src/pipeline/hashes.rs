//! Hashes of images on their way into events, and after them.

use super::Recorder;
use crate::enrich::Enriched;
use crate::image_hash::{Answer, Completion};

impl Recorder {
    /// Puts what is known of an image's file into its event.
    pub(super) fn tell_hash(&mut self, enriched: &mut Enriched) {
        if let Some(hashes) = &mut self.hashes {
            let process = (enriched.process_id, enriched.process_key);
            let Enriched {
                body,
                truncated,
                missing,
                file,
                ..
            } = enriched;
            hashes.tell(process, body, (truncated, missing), *file);
        }
    }

    /// Tells what was found in a file.
    pub(super) fn complete(&mut self, answer: Answer) {
        let Some(hashes) = &mut self.hashes else {
            return;
        };
        let Some(Completion {
            process_id,
            process_key,
            body,
            truncated,
            missing,
        }) = hashes.take(answer)
        else {
            return;
        };
        let (now, offset) = crate::sys::clock::now();
        let enriched = Enriched {
            process_id,
            process_key,
            time: 0,
            body,
            kept_by: None,
            truncated,
            missing,
            kept: true,
            file: None,
        };
        let time = self.clock.time(self.clock.sensor_ns(offset.time(now)));
        self.emit(time, enriched, true);
    }

    /// Tells what was found until now. What still waits stays untold.
    pub(super) fn end_hashes(&mut self) {
        while let Some(hashes) = &self.hashes
            && let Ok(answer) = hashes.answers().try_recv()
        {
            self.complete(answer);
        }
        if let Some(hashes) = &mut self.hashes {
            hashes.close();
        }
    }
}
