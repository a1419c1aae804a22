//! What the server writes to the log. What clients say of themselves is quoted, so that it cannot
//! pass for a line of ours.

use mqttstack_session::server::EndCause;

use crate::core::Notice;

/// Logs a notice of the core: one line for each connection that is let in, one for each end.
pub(super) fn notice(notice: &Notice) {
    match notice {
        Notice::Connected {
            peer,
            client_id,
            version,
            session_present,
        } => tracing::info!(
            %peer, client_id = ?client_id, %version, session_present, "connected"
        ),
        Notice::Ended {
            peer,
            client_id,
            cause,
        } => ended(peer, client_id.as_deref(), cause),
        Notice::SessionDropped { client_id, reason } => {
            tracing::warn!(client_id = ?client_id, %reason, "session dropped");
        }
    }
}

fn ended(peer: &str, client_id: Option<&str>, cause: &EndCause) {
    match cause {
        EndCause::ClientDisconnected(reason) => {
            tracing::info!(%peer, ?client_id, %reason, "disconnected by the client");
        }
        EndCause::TransportClosed => {
            tracing::info!(%peer, ?client_id, "closed by the peer without DISCONNECT");
        }
        EndCause::Refused(reason) => tracing::warn!(%peer, ?client_id, %reason, "refused"),
        EndCause::ServerDisconnected(reason) => {
            tracing::info!(%peer, ?client_id, %reason, "disconnected by the server");
        }
        EndCause::Protocol(error) => {
            let reason = error.reason_code();
            tracing::warn!(%peer, ?client_id, %error, %reason, "dropped");
        }
        _ => tracing::info!(%peer, ?client_id, ?cause, "ended"),
    }
}

/// Logs a connection that was closed at once because a limit is reached.
pub(super) fn no_room(peer: &str) {
    tracing::warn!(%peer, "refused: as many connections as allowed are open");
}
