//! Who is owed which copies, who got which, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use mqttstack_codec::{Publish, QoS, Shared};

use crate::{Copy, Delivery};

/// The books of all clients.
#[derive(Debug)]
pub(super) struct Accounts {
    clients: Vec<Books>,
    /// Payloads that the broker has seen; each names one publication.
    seen: BTreeSet<String>,
    is_ordered: bool,
}

#[derive(Clone, Debug, Default)]
struct Books {
    copies: BTreeMap<Copy, Account>,
    /// The highest number delivered, for each publisher, QoS of the publisher, topic and QoS of
    /// the delivery.
    last: BTreeMap<(String, String, String, QoS), u64>,
    /// What the client's topic aliases stand for on its present connection.
    aliases: BTreeMap<u16, String>,
}

#[derive(Clone, Debug, Default)]
struct Account {
    /// How many copies the broker was to send, at most.
    sent: u64,
    /// How many must have arrived in the end.
    required: u64,
    received: u64,
    /// Whether a first publication, and not only the repeat of one, is the reason.
    is_first: bool,
}

impl Accounts {
    pub(super) fn new(clients: usize, is_ordered: bool) -> Self {
        Self {
            clients: vec![Books::default(); clients],
            seen: BTreeSet::new(),
            is_ordered,
        }
    }

    /// Returns whether the broker sees this payload for the first time.
    pub(super) fn is_first(&mut self, payload: &str) -> bool {
        self.seen.insert(payload.into())
    }

    /// Returns the topic of a PUBLISH.
    pub(super) fn resolve_alias(&mut self, index: usize, publish: &Publish<Shared>) -> String {
        let topic: &str = &publish.topic;
        let aliases = &mut self.clients[index].aliases;
        match publish.properties.topic_alias() {
            Some(alias) if topic.is_empty() => aliases.get(&alias).cloned().unwrap_or_default(),
            Some(alias) => {
                aliases.insert(alias, topic.into());
                topic.into()
            }
            None => topic.into(),
        }
    }

    /// A client is on a new connection.
    pub(super) fn on_connected(&mut self, index: usize) {
        self.clients[index].aliases.clear();
    }

    /// A client is to get a copy.
    pub(super) fn owe(&mut self, index: usize, copy: Copy, is_first: bool) {
        let account = self.clients[index].copies.entry(copy).or_default();
        account.sent += 1;
        account.required += 1;
        account.is_first |= is_first;
    }

    /// The session of a client is over, and with it what it was owed.
    pub(super) fn forgive(&mut self, index: usize) {
        for account in self.clients[index].copies.values_mut() {
            account.required = account.received;
        }
    }

    /// A client has got a copy.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.3.1-1, v5 MQTT-4.3.3-10, v5 MQTT-4.6.0-6, v5 MQTT-3.3.4-2; v3.1.1 MQTT-4.6.0-6.
    pub(super) fn on_delivered(&mut self, index: usize, delivery: &Delivery) -> Result<(), String> {
        let books = &mut self.clients[index];
        let copy = Copy {
            topic: delivery.topic.clone(),
            payload: delivery.payload.clone(),
            qos: delivery.qos,
            retain: delivery.retain,
        };
        let Some(account) = books.copies.get_mut(&copy) else {
            return Err(format!("client {index} got what it was not owed: {copy:?}"));
        };
        account.received += 1;
        if delivery.is_unacknowledged {
            account.sent += 1;
        }
        let is_limited = delivery.qos != QoS::AtLeastOnce;
        if is_limited && account.received > account.sent {
            return Err(format!(
                "client {index} got too often {copy:?}: {account:?}"
            ));
        }
        // Of what was published twice, as a repeat at QoS 1 is, nobody can say which copy this is.
        if copy.retain || account.sent > 1 || account.received > 1 || !account.is_first {
            return Ok(());
        }
        let mut parts = copy.payload.split(':').map(str::to_owned);
        let (Some(publisher), Some(number), Some(qos)) = (parts.next(), parts.next(), parts.next())
        else {
            return Ok(());
        };
        let number: u64 = number.parse().unwrap_or_default();
        let stream = (publisher, qos, copy.topic.clone(), copy.qos);
        let last = books.last.entry(stream).or_default();
        if number < *last && self.is_ordered {
            return Err(format!("client {index} got {copy:?} after number {last}"));
        }
        *last = number;
        Ok(())
    }

    /// Everybody is here, nothing is under way: nobody is owed anything above QoS 0.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.3.2-1, v5 MQTT-4.3.3-1, v5 MQTT-4.4.0-1, v5 MQTT-4.5.0-1; v3.1.1 MQTT-4.4.0-1,
    /// v3.1.1 MQTT-4.5.0-1.
    pub(super) fn check_complete(&self) -> Result<(), String> {
        for (index, books) in self.clients.iter().enumerate() {
            for (copy, account) in &books.copies {
                if copy.qos != QoS::AtMostOnce && account.received < account.required {
                    return Err(format!("client {index} never got {copy:?}: {account:?}"));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(payload: &str, qos: QoS) -> Copy {
        Copy {
            topic: "t".into(),
            payload: payload.into(),
            qos,
            retain: false,
        }
    }

    fn deliver(accounts: &mut Accounts, payload: &str, qos: QoS) -> Result<(), String> {
        let delivery = Delivery {
            topic: "t".into(),
            payload: payload.into(),
            qos,
            retain: false,
            is_unacknowledged: false,
        };
        accounts.on_delivered(0, &delivery)
    }

    #[test]
    fn what_a_client_gets_has_to_be_what_it_is_owed() {
        use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
        // What is owed, what is delivered, whether the last delivery is fine, and the end of it.
        for (name, qos, owed, delivered, is_fine, is_complete) in [
            (
                "all in order",
                ExactlyOnce,
                vec!["0:1:2", "0:2:2"],
                vec!["0:1:2", "0:2:2"],
                true,
                true,
            ),
            (
                "nothing owed",
                AtMostOnce,
                vec![],
                vec!["0:1:0"],
                false,
                true,
            ),
            (
                "QoS 2 twice",
                ExactlyOnce,
                vec!["0:1:2"],
                vec!["0:1:2", "0:1:2"],
                false,
                true,
            ),
            (
                "QoS 1 twice",
                AtLeastOnce,
                vec!["0:1:1"],
                vec!["0:1:1", "0:1:1"],
                true,
                true,
            ),
            (
                "QoS 0 twice",
                AtMostOnce,
                vec!["0:1:0"],
                vec!["0:1:0", "0:1:0"],
                false,
                true,
            ),
            (
                "QoS 0 lost",
                AtMostOnce,
                vec!["0:1:0", "0:2:0"],
                vec!["0:2:0"],
                true,
                true,
            ),
            (
                "QoS 1 lost",
                AtLeastOnce,
                vec!["0:1:1", "0:2:1"],
                vec!["0:2:1"],
                true,
                false,
            ),
            (
                "QoS 2 lost",
                ExactlyOnce,
                vec!["0:1:2", "0:2:2"],
                vec!["0:1:2"],
                true,
                false,
            ),
            (
                "overtaken",
                AtLeastOnce,
                vec!["0:1:1", "0:2:1"],
                vec!["0:2:1", "0:1:1"],
                false,
                true,
            ),
            (
                "other publishers",
                AtLeastOnce,
                vec!["0:1:1", "1:2:1"],
                vec!["1:2:1", "0:1:1"],
                true,
                true,
            ),
        ] {
            let mut accounts = Accounts::new(1, true);
            for payload in owed {
                accounts.owe(0, copy(payload, qos), true);
            }
            let mut last = Ok(());
            for payload in delivered {
                last = deliver(&mut accounts, payload, qos);
            }
            assert_eq!(last.is_ok(), is_fine, "{name}: {last:?}");
            assert_eq!(accounts.check_complete().is_ok(), is_complete, "{name}");
        }
    }

    #[test]
    fn a_session_that_is_over_is_owed_nothing_of_before() {
        let mut accounts = Accounts::new(1, true);
        accounts.owe(0, copy("0:1:1", QoS::AtLeastOnce), true);
        accounts.forgive(0);
        assert_eq!(accounts.check_complete(), Ok(()));
        accounts.owe(0, copy("0:2:1", QoS::AtLeastOnce), true);
        assert!(accounts.check_complete().is_err());
    }
}
