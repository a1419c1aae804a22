//! What the server writes to the log. What clients say of themselves is quoted, so that it cannot
//! pass for a line of ours, and cut short, so that it cannot fill the disk.

mod strangers;

use std::{fmt, io, time::Duration};

use mqttstack_limits::Instant;
use mqttstack_session::server::EndCause;
use mqttstack_transport::{AcceptError, TransportError};

pub(super) use self::strangers::StrangerLog;
use crate::core::{Notice, Peer};

/// Logs a notice of the core: one line for each connection that is let in, one for each end.
pub(super) fn notice(notice: &Notice, strangers: &mut StrangerLog, now: Instant) {
    match notice {
        Notice::Connected {
            peer,
            client_id,
            version,
            session_present,
        } => {
            let tls = peer.tls.as_deref();
            tracing::info!(
                %peer,
                client_id = %Quoted(Some(client_id)),
                %version,
                session_present,
                proxy = peer.proxy.as_deref(),
                tls = tls.and_then(|tls| tls.version.as_deref()),
                alpn = tls.and_then(|tls| tls.protocol.as_deref()),
                server_name = tls.and_then(|tls| tls.server_name.as_deref()),
                certificate = peer.certified_name(),
                origin = peer
                    .websocket
                    .as_deref()
                    .and_then(|asked| asked.origin.as_deref())
                    .map(|origin| tracing::field::display(Quoted(Some(origin)))),
                "connected"
            );
        }
        Notice::Ended {
            peer,
            client_id,
            cause,
        } => match (client_id, cause) {
            (None, EndCause::Protocol(error)) => strangers.spoke_no_mqtt(peer, error, now),
            _ => ended(peer, client_id.as_deref(), cause),
        },
        Notice::MessagesDropped { client_id, count } => {
            tracing::warn!(client_id = %Quoted(Some(client_id)), count, "messages dropped");
        }
        Notice::SessionDropped { client_id, reason } => {
            tracing::warn!(client_id = %Quoted(Some(client_id)), %reason, "session dropped");
        }
    }
}

fn ended(peer: &Peer, client_id: Option<&str>, cause: &EndCause) {
    if client_id.is_none() && *cause == EndCause::TransportClosed {
        // A check of health, a scan, or an opening that failed, which had a line of its own.
        return tracing::debug!(%peer, "closed without CONNECT");
    }
    let client_id = Quoted(client_id);
    match cause {
        EndCause::ClientDisconnected(reason) => {
            tracing::info!(%peer, %client_id, %reason, "disconnected by the client");
        }
        EndCause::TransportClosed => {
            tracing::info!(%peer, %client_id, "closed by the peer without DISCONNECT");
        }
        EndCause::Refused(reason) => tracing::warn!(%peer, %client_id, %reason, "refused"),
        EndCause::ServerDisconnected(reason) => {
            tracing::info!(%peer, %client_id, %reason, "disconnected by the server");
        }
        EndCause::Protocol(error) => {
            let reason = error.reason_code();
            tracing::warn!(%peer, %client_id, %error, %reason, "dropped");
        }
        _ => tracing::info!(%peer, %client_id, ?cause, "ended"),
    }
}

/// Logs a connection that its transport has broken; what an end without notice looks like is known.
pub(super) fn broken(peer: &Peer, error: &io::Error) {
    let error = TransportError::from(error);
    if matches!(error, TransportError::Reset | TransportError::Closed) {
        tracing::debug!(%peer, %error, "broken");
    } else {
        tracing::info!(%peer, %error, "broken");
    }
}

/// Logs that a listener will never accept again, and returns what the broker ends with.
pub(super) fn deaf(listener: &str, error: &AcceptError) -> io::Error {
    tracing::error!(%listener, %error, "the broker ends, as a listener is broken");
    io::Error::other(format!("the listener {listener} is broken: {error}"))
}

/// A Client Identifier for people.
#[derive(Clone, Copy)]
struct Quoted<'a>(Option<&'a str>);

impl Quoted<'_> {
    /// How many characters are shown.
    const SHOWN_MAX: usize = 64;
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(text) = self.0 else {
            return f.write_str("none");
        };
        match text.char_indices().nth(Self::SHOWN_MAX) {
            None => write!(f, "{text:?}"),
            Some((end, _)) => {
                let shown = text.get(..end).unwrap_or_default();
                write!(f, "{shown:?}... ({} bytes)", text.len())
            }
        }
    }
}

/// Logs why a listener accepts nothing, at most once a second: it meets the same error at every try.
#[derive(Debug, Default)]
pub(super) struct AcceptLog {
    next: Instant,
    suppressed: u64,
}

impl AcceptLog {
    const PAUSE: Duration = Duration::from_secs(1);

    pub(super) fn error(&mut self, listener: &dyn fmt::Display, error: &AcceptError, now: Instant) {
        if now < self.next {
            self.suppressed = self.suppressed.saturating_add(1);
            return;
        }
        self.next = now + Self::PAUSE;
        let suppressed = std::mem::take(&mut self.suppressed);
        tracing::warn!(%listener, %error, suppressed, "cannot accept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_identifier_is_quoted_and_cut() {
        assert_eq!(Quoted(None).to_string(), "none");
        assert_eq!(Quoted(Some("a\nb")).to_string(), r#""a\nb""#);
        let long = "\u{e4}".repeat(65);
        let shown = Quoted(Some(&long)).to_string();
        assert!(shown.ends_with("... (130 bytes)"), "{shown}");
        assert_eq!(shown.chars().filter(|it| *it == '\u{e4}').count(), 64);
    }
}
