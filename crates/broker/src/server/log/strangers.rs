//! What the log says of peers that have not been accepted. Anybody can be one, as often as it likes:
//! of each kind of trouble there is one line in full, and then one a second that counts the rest.

use std::{fmt, time::Duration};

use mqttstack_limits::Instant;
use mqttstack_session::ProtocolError;
use mqttstack_transport::{PeerAddress, TLS_HANDSHAKE};

use crate::core::Peer;

/// How many characters of what is wrong with an opening are shown: what the peer sent may be in it.
const OPENING_SHOWN_MAX: usize = 256;

/// Logs what becomes of strangers.
#[derive(Debug, Default)]
pub(crate) struct StrangerLog {
    quotas: [Quota; Trouble::ALL.len()],
}

/// A kind of trouble.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Displaced,
    NoRoom,
    TooManyPending,
    HandshakeFailed,
    WrongDoor,
    NoMqtt,
}

/// A line for which the log may be too full: as a warning, or for those who want to see everything.
macro_rules! tell {
    ($is_warning:expr, $($line:tt)*) => {
        if $is_warning {
            tracing::warn!($($line)*);
        } else {
            tracing::debug!($($line)*);
        }
    };
}

impl StrangerLog {
    /// A connection was closed before it was accepted, to make room for another.
    pub(crate) fn displaced(&mut self, peer: &PeerAddress, now: Instant) {
        let is_warning = self.quota(Trouble::Displaced).take(now);
        tell!(is_warning, %peer, "closed before it was accepted, to make room for another");
    }

    /// A connection was closed at once because a limit is reached.
    pub(crate) fn no_room(&mut self, peer: &Peer, now: Instant) {
        let is_warning = self.quota(Trouble::NoRoom).take(now);
        tell!(is_warning, %peer, "refused: as many connections as allowed are open");
    }

    /// A connection was closed at once because too many from there have not got far.
    pub(crate) fn too_many_pending(&mut self, peer: &Peer, now: Instant) {
        let is_warning = self.quota(Trouble::TooManyPending).take(now);
        tell!(
            is_warning,
            %peer,
            "refused: too many connections from this address wait to be accepted"
        );
    }

    /// The layers of a transport could not be opened.
    pub(crate) fn handshake_failed(
        &mut self,
        peer: &PeerAddress,
        error: &impl fmt::Display,
        now: Instant,
    ) {
        let error = error.to_string();
        let shown = error.chars().take(OPENING_SHOWN_MAX);
        let error: String = shown.flat_map(char::escape_debug).collect();
        let is_warning = self.quota(Trouble::HandshakeFailed).take(now);
        tell!(is_warning, %peer, %error, "handshake failed");
    }

    /// Says what is wrong with a client that came to the wrong door; what it sent is refused by
    /// itself.
    pub(crate) fn first_input(&mut self, peer: &PeerAddress, input: &[u8], now: Instant) {
        let spoken = match input.first() {
            Some(&TLS_HANDSHAKE) => "TLS",
            Some(b'G') if input.starts_with(b"GET ") => "HTTP",
            Some(_) | None => return,
        };
        let is_warning = self.quota(Trouble::WrongDoor).take(now);
        tell!(is_warning, %peer, "the client speaks {spoken} to a listener for MQTT without it");
    }

    /// A peer began with what is no CONNECT.
    pub(crate) fn spoke_no_mqtt(&mut self, peer: &Peer, error: &ProtocolError, now: Instant) {
        let reason = error.reason_code();
        let is_warning = self.quota(Trouble::NoMqtt).take(now);
        tell!(is_warning, %peer, %error, %reason, "dropped before CONNECT");
    }

    /// Tells of those for whom there was no line, when it is time.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for (trouble, quota) in Trouble::ALL.into_iter().zip(&mut self.quotas) {
            if let Some(count) = quota.due(now) {
                trouble.tell_of_more(count);
            }
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) has something to tell.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let untold = self.quotas.iter().filter(|quota| quota.untold > 0);
        untold.map(|quota| quota.next).min()
    }

    /// Tells of them now: the broker ends.
    pub(crate) fn finish(&mut self) {
        for (trouble, quota) in Trouble::ALL.into_iter().zip(&mut self.quotas) {
            if let Some(count) = quota.due(quota.next) {
                trouble.tell_of_more(count);
            }
        }
    }

    fn quota(&mut self, trouble: Trouble) -> &mut Quota {
        let [
            displaced,
            no_room,
            too_many_pending,
            handshake_failed,
            wrong_door,
            no_mqtt,
        ] = &mut self.quotas;
        match trouble {
            Trouble::Displaced => displaced,
            Trouble::NoRoom => no_room,
            Trouble::TooManyPending => too_many_pending,
            Trouble::HandshakeFailed => handshake_failed,
            Trouble::WrongDoor => wrong_door,
            Trouble::NoMqtt => no_mqtt,
        }
    }
}

impl Trouble {
    /// All kinds, in the order of their quotas.
    const ALL: [Self; 6] = [
        Self::Displaced,
        Self::NoRoom,
        Self::TooManyPending,
        Self::HandshakeFailed,
        Self::WrongDoor,
        Self::NoMqtt,
    ];

    fn tell_of_more(self, count: u64) {
        let what = match self {
            Self::Displaced => {
                "more were closed before they were accepted, to make room for others"
            }
            Self::NoRoom => "more were refused: as many connections as allowed are open",
            Self::TooManyPending => {
                "more were refused: too many connections from their addresses wait to be accepted"
            }
            Self::HandshakeFailed => "more handshakes failed",
            Self::WrongDoor => "more clients spoke TLS or HTTP to a listener for MQTT without it",
            Self::NoMqtt => "more were dropped before CONNECT",
        };
        tracing::warn!(count, "{what}");
    }
}

/// How often there may be a line.
#[derive(Debug, Default)]
struct Quota {
    next: Instant,
    /// For how many there was none.
    untold: u64,
}

impl Quota {
    const PAUSE: Duration = Duration::from_secs(1);

    /// Returns whether there may be a line now; if not, what it would tell of is counted.
    fn take(&mut self, now: Instant) -> bool {
        // Those who came before are told of first.
        if now < self.next || self.untold > 0 {
            self.untold = self.untold.saturating_add(1);
            return false;
        }
        self.next = now + Self::PAUSE;
        true
    }

    /// Returns how many there were without a line, if it is time for one that says so.
    fn due(&mut self, now: Instant) -> Option<u64> {
        if self.untold == 0 || now < self.next {
            return None;
        }
        self.next = now + Self::PAUSE;
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_flood_there_is_one_line_a_second_and_everybody_is_counted() {
        let mut log = StrangerLog::default();
        let start = Instant::default() + Duration::from_secs(9);
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(log.poll_timeout(), None);
        let quota = |log: &mut StrangerLog, now| log.quota(Trouble::NoRoom).take(now);
        assert!(quota(&mut log, start), "the first is told of at once");
        assert_eq!(log.poll_timeout(), None, "and nothing is left to tell");
        assert!(!quota(&mut log, after(1)));
        assert!(!quota(&mut log, after(2)));
        assert_eq!(log.poll_timeout(), Some(after(1_000)));
        assert_eq!(log.quota(Trouble::NoRoom).due(after(999)), None);
        assert!(!quota(&mut log, after(1_000)), "they are told of together");
        assert_eq!(log.quota(Trouble::NoRoom).due(after(1_001)), Some(3));
        assert_eq!(log.poll_timeout(), None);
        assert!(!quota(&mut log, after(2_000)));
        log.handle_timeout(after(2_001));
        assert!(quota(&mut log, after(3_001)), "the flood is over");
        // One kind of trouble hides no other.
        assert!(log.quota(Trouble::HandshakeFailed).take(after(3_001)));
    }
}
