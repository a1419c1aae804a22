//! Messages that the broker keeps: retained ones, and those for a client that is away.

use std::time::Duration;

use mqttstack_codec::QoS;

use super::{Run, ScenarioError, Topics};
use crate::bench::{
    engine::{Engine, RunError, Waited},
    ledger::{Expected, Fault},
    measure::{Mark, Phase},
    receiver::Receiver,
    sender::Pace,
    wire::{Introduction, Template},
};

/// How long memory is given to settle before it is looked at.
const SETTLE: Duration = Duration::from_millis(300);

impl Run<'_> {
    /// Stores a message for each topic, has them delivered to one new subscriber, and removes them.
    pub(super) fn retained(&mut self) -> Result<Vec<Phase>, ScenarioError> {
        let count = u32::try_from(self.parameters.messages).unwrap_or(u32::MAX);
        let names: Vec<_> = (0..count)
            .map(|number| self.topic(format_args!("site{}/dev{number}", number % 100)))
            .collect();
        let topics = Topics {
            names,
            receivers: 0,
            retain: true,
        };
        let qos = QoS::AtLeastOnce;
        let publisher = self.publisher(&topics, u64::from(count), qos, self.bursts())?;
        let filters = [self.topic("#")];
        let subscriber = self.subscriber(&filters, Expected::new(0..count, false))?;
        let mut phases = Vec::new();

        let engine = &mut self.engine;
        engine.connect_all([publisher])?;
        settle(engine)?;
        engine.sampler.begin("storing");
        phases.push(publish(engine, "set")?.with_bytes_each());

        engine.sampler.begin("delivering");
        let mark = Mark::now(engine);
        engine.connect(subscriber);
        let total = u64::from(count);
        let waited = engine.run_until("delivering", |engine| engine.ledger.delivered >= total)?;
        let (Waited::Done | Waited::Stalled) = waited;
        phases.push(mark.deliveries("delivered", engine));
        engine.ledger.checks.lost += total.saturating_sub(engine.ledger.delivered);
        engine.leave_all([subscriber])?;

        engine.sampler.begin("removing");
        let removals = topics
            .names
            .iter()
            .map(|name| Template::new(self.version, name, qos, true, 0, &[]))
            .collect::<Result<_, _>>()?;
        if let Some(sender) = &mut engine.clients[publisher].sender {
            sender.replace(removals, total);
        }
        phases.push(publish(engine, "removed")?);
        engine.leave_all([publisher])?;
        Ok(phases)
    }

    /// Queues messages for a client that is away, and drains them when it is back.
    pub(super) fn offline(&mut self) -> Result<Vec<Phase>, ScenarioError> {
        let messages = self.parameters.messages;
        let topics = Topics {
            names: vec![self.topic("queue")],
            receivers: 0,
            retain: false,
        };
        let qos = self.parameters.qos().max(QoS::AtLeastOnce);
        let publisher = self.publisher(&topics, messages, qos, self.bursts())?;
        let receive_maximum = self.parameters.receive_maximum;
        let introduction = Introduction {
            is_durable: true,
            clean_start: false,
            receive_maximum,
            ..self.introduction("s")
        };
        let away = self.client(&introduction, &topics.names)?;
        // The same client: it has its subscription and asks for nothing.
        let back = self.client(&introduction, &[])?;
        let announced = receive_maximum.filter(|_| self.version.has_properties());
        let receiver = Receiver::new(Expected::new(0..1, false), announced);
        self.engine.clients[back].receiver = Some(Box::new(receiver));
        let clean = Introduction {
            is_durable: false,
            clean_start: true,
            ..introduction
        };
        let cleaner = self.client(&clean, &[])?;
        let mut phases = Vec::new();

        let engine = &mut self.engine;
        engine.connect_all([away, publisher])?;
        engine.leave_all([away])?;
        settle(engine)?;
        engine.sampler.begin("queueing");
        phases.push(publish(engine, "queued")?.with_bytes_each());

        engine.sampler.begin("draining");
        let mark = Mark::now(engine);
        engine.connect(back);
        let waited = engine.run_until("draining", |engine| engine.ledger.delivered >= messages)?;
        let (Waited::Done | Waited::Stalled) = waited;
        phases.push(mark.deliveries("drained", engine));
        if !engine.clients[back].session_present {
            let what = || "the broker does not know the session of the client".into();
            engine.ledger.checks.note(Fault::Refused, what);
        }
        engine.ledger.checks.lost += messages.saturating_sub(engine.ledger.delivered);
        engine.leave_all([back, publisher])?;
        engine.connect_all([cleaner])?;
        engine.leave_all([cleaner])?;
        Ok(phases)
    }

    fn bursts(&self) -> Pace {
        Pace::Bursts {
            in_flight_max: self.parameters.in_flight,
            burst: self.parameters.burst,
        }
    }
}

/// Has the senders send everything, and measures that.
fn publish(engine: &mut Engine, name: &'static str) -> Result<Phase, RunError> {
    let mark = Mark::now(engine);
    engine.start_senders();
    engine.require("publishing", |engine| engine.is_delivered())?;
    Ok(mark.messages(name, engine))
}

pub(super) fn settle(engine: &mut Engine) -> Result<(), RunError> {
    let until = engine.clock.elapsed() + SETTLE;
    engine.require("settling", |engine| engine.clock.elapsed() >= until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_is_an_empty_retained_message() {
        let version = mqttstack_codec::ProtocolVersion::V311;
        let template = Template::new(version, "t", QoS::AtLeastOnce, true, 0, &[]).unwrap();
        let mut out = Vec::new();
        let stamp = crate::bench::payload::Stamp {
            run: 0,
            stream: 0,
            sequence: 0,
            due: 0,
        };
        template.write(&mut out, Some(5), stamp);
        assert_eq!(out, [0x33, 5, 0, 1, b't', 0, 5]);
    }
}
