//! Messages for sessions with other workers.

use mqttstack_session::Message;

use super::{
    Core,
    keys::WorkerId,
    message::{Target, WorkerMessage},
};

/// How many lists of subscribers that came with letters are kept for new ones, and how many places
/// each has at most: some three quarters of a megabyte.
const TARGETS_KEPT_MAX: usize = 1_024;
const TARGET_COUNT_KEPT_MAX: usize = 8;

impl Core {
    /// A letter has been read: the next one may be written in its place.
    pub(super) fn keep_targets(&mut self, targets: Vec<Target>) {
        let has_room = self.spare_targets.len() < TARGETS_KEPT_MAX;
        if has_room && targets.capacity() <= TARGET_COUNT_KEPT_MAX {
            self.spare_targets.push(targets);
        }
    }

    pub(super) fn send_batch(&mut self, worker: WorkerId, message: Message, targets: Vec<Target>) {
        let parcel = self.write_parcel(&message, &targets);
        let letter = WorkerMessage::Deliver {
            from: self.worker,
            message,
            targets,
            parcel,
        };
        self.send_letter(worker, letter);
    }
}
