//! Where sessions have gone that were here a moment ago.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use mqttstack_limits::Instant;

use super::keys::{SessionKey, WorkerId};

/// How long a move is remembered: longer than any message between workers takes.
const REMEMBERED_FOR: Duration = Duration::from_secs(10);
/// How many moves are remembered; beyond it the oldest is forgotten.
const MOVES_MAX: usize = 65_536;

/// Sessions that were handed over to another worker, or taken over from one.
///
/// A worker that looked subscribers up before a session moved sends to its old key. The old owner
/// passes such a message on, behind the session itself, and the new owner knows the old key: so
/// nothing is lost on the way.
#[derive(Debug, Default)]
pub(super) struct Moves {
    routes: BTreeMap<SessionKey, Route>,
    /// Oldest first.
    made: VecDeque<(Instant, SessionKey)>,
}

/// Where a session is that had some key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Route {
    /// With another worker.
    Away(WorkerId),
    /// With this worker, under another key.
    Renamed(SessionKey),
}

impl Moves {
    pub(super) fn note(&mut self, key: SessionKey, route: Route, now: Instant) {
        while let Some((at, oldest)) = self.made.front().copied() {
            if self.made.len() < MOVES_MAX && now - at < REMEMBERED_FOR {
                break;
            }
            self.made.pop_front();
            self.routes.remove(&oldest);
        }
        self.routes.insert(key, route);
        self.made.push_back((now, key));
    }

    /// Returns where the session is that had this key, and the newest key of it that is known.
    pub(super) fn follow(&self, key: SessionKey) -> Option<(Route, SessionKey)> {
        match *self.routes.get(&key)? {
            // It may have gone on since.
            Route::Renamed(newer) => match self.routes.get(&newer) {
                Some(next) => Some((*next, newer)),
                None => Some((Route::Renamed(newer), newer)),
            },
            Route::Away(worker) => Some((Route::Away(worker), key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(worker: u8, slot: u32) -> SessionKey {
        SessionKey::new(WorkerId::new(worker), slot, 0)
    }

    #[test]
    fn a_session_that_moved_twice_is_followed_to_where_it_is() {
        let mut moves = Moves::default();
        moves.note(key(0, 1), Route::Renamed(key(1, 7)), Instant::EPOCH);
        let renamed = (Route::Renamed(key(1, 7)), key(1, 7));
        assert_eq!(moves.follow(key(0, 1)), Some(renamed));
        moves.note(key(1, 7), Route::Away(WorkerId::new(2)), Instant::EPOCH);
        let away = (Route::Away(WorkerId::new(2)), key(1, 7));
        assert_eq!(moves.follow(key(0, 1)), Some(away));
        assert_eq!(moves.follow(key(0, 2)), None);
    }

    #[test]
    fn moves_are_forgotten_in_time_and_in_number() {
        let mut moves = Moves::default();
        let route = Route::Away(WorkerId::new(1));
        moves.note(key(0, 0), route, Instant::EPOCH);
        moves.note(key(0, 1), route, Instant::EPOCH + REMEMBERED_FOR);
        assert_eq!(moves.follow(key(0, 0)), None);
        assert_eq!(moves.follow(key(0, 1)), Some((route, key(0, 1))));
        for slot in 0..100_000 {
            moves.note(key(0, slot), route, Instant::EPOCH + REMEMBERED_FOR);
        }
        assert_eq!(moves.routes.len(), moves.made.len());
        assert!(moves.made.len() <= MOVES_MAX);
    }
}
