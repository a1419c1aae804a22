//! What clients have asked for, and that each of it ends once, and rightly.

use std::collections::BTreeMap;

use mqttstack_client::core::{OperationId, Outcome};
use mqttstack_codec::{QoS, ReasonCode};
use mqttstack_session::Undelivered;

use super::action::{Action, Body, Publish};

/// The operations of all clients.
#[derive(Debug, Default)]
pub(super) struct Operations {
    open: BTreeMap<(usize, OperationId), Asked>,
}

#[derive(Clone, Debug)]
enum Asked {
    Message(Publish),
    Request,
}

impl Operations {
    /// A client has begun an operation.
    pub(super) fn on_begun(&mut self, index: usize, operation: OperationId, action: &Action) {
        let asked = if let Action::Publish(_, publish) = action {
            Asked::Message(publish.clone())
        } else {
            Asked::Request
        };
        self.open.insert((index, operation), asked);
    }

    /// An operation has ended. What the broker has acknowledged it has seen; what is given up was
    /// given up for a reason.
    pub(super) fn on_completed(
        &mut self,
        index: usize,
        operation: OperationId,
        outcome: &Outcome,
        has_small_queue: bool,
        has_seen: impl Fn(&str) -> bool,
    ) -> Result<(), String> {
        let Some(asked) = self.open.remove(&(index, operation)) else {
            return Err(format!(
                "client {index} completes {operation:?} without need: {outcome:?}"
            ));
        };
        let is_fine = match (&asked, outcome) {
            (Asked::Message(publish), Outcome::Acknowledged { reason_code, .. }) => {
                // An exchange that was finished before says so to a PUBREL that comes again.
                let is_taken =
                    !reason_code.is_error() || *reason_code == ReasonCode::PacketIdentifierNotFound;
                publish.qos != QoS::AtMostOnce && is_taken && has_seen(&publish.payload(index))
            }
            (Asked::Message(publish), Outcome::Sent) => publish.qos == QoS::AtMostOnce,
            (Asked::Message(publish), Outcome::Undelivered(why)) => {
                // QoS 0 does not wait for the next connection.
                let is_qos0 = publish.qos == QoS::AtMostOnce;
                let is_known = (*why == Undelivered::Dropped && (is_qos0 || has_small_queue))
                    || (*why == Undelivered::SessionLost && !is_qos0);
                let has_expired = *why == Undelivered::Expired && publish.expiry.is_some();
                let is_large = *why == Undelivered::TooLarge && publish.body == Body::Large;
                is_known || has_expired || is_large
            }
            (Asked::Message(_), _) => false,
            (Asked::Request, Outcome::Acknowledged { .. } | Outcome::Sent) => false,
            (Asked::Request, _) => true,
        };
        if is_fine {
            return Ok(());
        }
        Err(format!("client {index} is told {outcome:?} of {asked:?}"))
    }

    /// Nothing is under way: everything has ended.
    pub(super) fn check_complete(&self) -> Result<(), String> {
        match self.open.first_key_value() {
            Some(((index, _), asked)) => Err(format!("client {index} was never told of {asked:?}")),
            None => Ok(()),
        }
    }
}
