//! Questions to the program around the broker that it answers later.
//!
//! A connection has at most one open at a time, a SUBSCRIBE one for each of its filters. While it
//! waits nothing more is read from it: what the question holds is all there is to hold.

use mqttstack_codec::{PacketId, ReasonCode, Shared, Subscribe};
use mqttstack_limits::Instant;
use mqttstack_session::Message;

use super::{
    Core,
    access::{Answer, Authentication, Authorization, Ticket},
    keys::ConnectionId,
    timers::Timer,
};

/// A question that waits for its answer.
#[derive(Debug)]
pub(super) struct Question {
    /// The number of its ticket; those of further filters follow.
    number: u32,
    /// When it is answered with no.
    due: Instant,
    about: About,
}

#[derive(Debug)]
pub(super) enum About {
    /// Who the client is.
    Connect,
    /// Whether a connected client has proved anew who it is.
    AuthAgain,
    /// Whether it may leave its will.
    Will,
    Publish {
        message: Message,
        packet_id: Option<PacketId>,
    },
    Subscribe {
        subscribe: Box<Subscribe<Shared>>,
        /// For each filter.
        answers: Vec<Authorization>,
        /// How many of them are not there yet.
        missing: usize,
    },
}

impl Core {
    /// Returns the ticket of the next question about a connection.
    pub(super) fn next_ticket(&self, connection: ConnectionId) -> Ticket {
        Ticket {
            worker: self.worker,
            connection,
            number: self.questions_asked,
        }
    }

    /// Has a connection wait for the answer to the question whose ticket was handed out last, or to
    /// the `count` questions from that on.
    pub(super) fn await_answer(
        &mut self,
        id: ConnectionId,
        about: About,
        count: usize,
        now: Instant,
    ) {
        let number = self.questions_asked;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.questions_asked = number.wrapping_add(count);
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        let due = now + connection.limits().decision_timeout;
        connection.question = Some(Box::new(Question { number, due, about }));
        self.timers.schedule(Timer::Decision(id), due);
    }

    /// Answers a request to which the [`Access`](super::Access) said `Deferred`. Does nothing if
    /// nobody waits for it any more; an answer of the wrong kind is no.
    pub fn resolve(&mut self, ticket: Ticket, answer: impl Into<Answer>, now: Instant) {
        let answer = answer.into();
        let is_deferred = matches!(
            answer,
            Answer::Authentication(Authentication::Deferred)
                | Answer::Authorization(Authorization::Deferred)
        );
        if !is_deferred && ticket.worker == self.worker {
            self.on_answer(ticket.connection, ticket.number, answer, now);
        }
    }

    fn on_answer(&mut self, id: ConnectionId, number: u32, answer: Answer, now: Instant) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        let Some(question) = &mut connection.question else {
            return;
        };
        if !question.take_answer(number, &answer) {
            return;
        }
        let Some(question) = connection.question.take() else {
            return;
        };
        self.timers.cancel(Timer::Decision(id), question.due);
        self.close_question(id, question.about, answer, now);
        self.go_on(id, now);
        // The driver may read on.
        self.mark_dirty(id);
        self.conclude(now);
    }

    fn close_question(&mut self, id: ConnectionId, about: About, answer: Answer, now: Instant) {
        let verdict = match &answer {
            Answer::Authorization(Authorization::Allow) => Ok(()),
            Answer::Authorization(Authorization::Deny(reason)) => Err(*reason),
            Answer::Authorization(Authorization::Deferred) | Answer::Authentication(_) => {
                Err(ReasonCode::NotAuthorized)
            }
        };
        match about {
            About::Connect => self.on_authentication(id, authentication_of(answer), now),
            About::AuthAgain => self.on_authenticated_again(id, authentication_of(answer)),
            About::Will => match verdict {
                Ok(()) => self.find_session(id, now),
                Err(reason) => self.refuse(id, reason, now),
            },
            About::Publish { message, packet_id } => {
                self.on_publish_decided(id, message, packet_id, verdict, now);
            }
            About::Subscribe {
                subscribe, answers, ..
            } => {
                self.on_subscribe_decided(id, &subscribe, &answers, now);
            }
        }
    }

    /// Nobody has answered in time: the answer is no.
    pub(super) fn on_decision_due(&mut self, id: ConnectionId, now: Instant) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        let Some(question) = connection.question.take_if(|question| question.due <= now) else {
            return;
        };
        let answer = Answer::Authorization(Authorization::Deny(ReasonCode::NotAuthorized));
        self.close_question(id, question.about, answer, now);
        self.go_on(id, now);
        self.mark_dirty(id);
    }

    /// Takes up a connection that waited.
    pub(super) fn go_on(&mut self, id: ConnectionId, now: Instant) {
        self.handle_events(id, now);
        self.handle_unread(id, now);
        self.settle(id);
    }

    /// The connection is over: nobody waits for an answer.
    pub(super) fn drop_question(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        if let Some(question) = connection.question.take() {
            self.timers.cancel(Timer::Decision(id), question.due);
        }
    }
}

/// An answer of the wrong kind, or none in time, keeps the client out.
fn authentication_of(answer: Answer) -> Authentication {
    match answer {
        Answer::Authentication(answer) => answer,
        Answer::Authorization(_) => Authentication::Refuse(ReasonCode::NotAuthorized),
    }
}

impl Question {
    /// Returns the bytes of what it is about.
    pub(super) fn bytes(&self) -> usize {
        /// What a filter takes in its packet beside its text: a length and options.
        const FILTER_BYTES: usize = 3;
        match &self.about {
            About::Connect | About::AuthAgain | About::Will => 0,
            About::Publish { message, .. } => message.size(),
            About::Subscribe {
                subscribe, answers, ..
            } => {
                // The packet is kept whole as long as a part of it is.
                let filters = subscribe.filters.iter();
                let texts: usize = filters.map(|it| it.filter.len() + FILTER_BYTES).sum();
                texts
                    .saturating_add(subscribe.properties.as_bytes().len())
                    .saturating_add(size_of_val(answers.as_slice()))
            }
        }
    }

    /// Notes an answer if it is one to this question; returns whether that settles it.
    fn take_answer(&mut self, number: u32, answer: &Answer) -> bool {
        let index = usize::try_from(number.wrapping_sub(self.number)).unwrap_or(usize::MAX);
        let About::Subscribe {
            answers, missing, ..
        } = &mut self.about
        else {
            return index == 0;
        };
        match answers.get_mut(index) {
            Some(slot @ Authorization::Deferred) => {
                *slot = match answer {
                    Answer::Authorization(answer) => *answer,
                    Answer::Authentication(_) => Authorization::Deny(ReasonCode::NotAuthorized),
                };
                *missing = missing.saturating_sub(1);
                *missing == 0
            }
            Some(Authorization::Allow | Authorization::Deny(_)) | None => false,
        }
    }
}
