//! Messages from publishers to subscribers who are there: pairs, fan-out, fan-in, wildcards, groups.

use super::{Run, ScenarioError, Topics};
use crate::bench::{
    engine::Waited,
    ledger::Expected,
    measure::{Latency, Mark, Phase},
    sender::Pace,
};

/// Of so many messages, one more is sent at the beginning and not measured.
const WARM_UP: u64 = 10;
/// For how long that lasts in a run that is bounded by time, as part of it.
const SECONDS_TO_NANOS: u64 = 1_000_000_000;

impl Run<'_> {
    pub(super) fn pairs(&mut self) -> Result<Vec<Phase>, ScenarioError> {
        let count = self.parameters.clients;
        for pair in 0..count {
            let filters = [self.topic(pair)];
            self.subscriber(&filters, Expected::new(pair..pair + 1, false))?;
        }
        for pair in 0..count {
            self.flow_publisher(vec![self.topic(pair)], 1, pair, count)?;
        }
        self.flow()
    }

    pub(super) fn fanout(&mut self) -> Result<Vec<Phase>, ScenarioError> {
        let topic = self.topic("all");
        for _ in 0..self.parameters.clients {
            self.subscriber(std::slice::from_ref(&topic), Expected::new(0..1, false))?;
        }
        self.flow_publisher(vec![topic], self.parameters.clients, 0, 1)?;
        self.flow()
    }

    pub(super) fn fanin(&mut self) -> Result<Vec<Phase>, ScenarioError> {
        let topic = self.topic("all");
        let count = self.parameters.clients;
        self.subscriber(std::slice::from_ref(&topic), Expected::new(0..count, false))?;
        for publisher in 0..count {
            self.flow_publisher(vec![topic.clone()], 1, publisher, count)?;
        }
        self.flow()
    }

    /// Each subscriber has the same number of filters `GROUP/+/SENSOR`, each publisher one topic
    /// for each subscriber.
    pub(super) fn wildcard(&mut self) -> Result<Vec<Phase>, ScenarioError> {
        let (subscribers, publishers) = (self.parameters.clients, self.parameters.publishers);
        let filters_each = (self.parameters.filters / subscribers).max(1);
        // Publishers own the streams, one after the other.
        for subscriber in 0..subscribers {
            let filters: Vec<_> = (0..filters_each)
                .map(|sensor| self.topic(format_args!("g{subscriber}/+/s{sensor}")))
                .collect();
            let expected = Expected::every(subscriber, subscribers, publishers);
            self.subscriber(&filters, expected)?;
        }
        for publisher in 0..publishers {
            let topics = (0..subscribers)
                .map(|subscriber| {
                    let sensor = (publisher + subscriber) % filters_each;
                    self.topic(format_args!("g{subscriber}/d{publisher}/s{sensor}"))
                })
                .collect();
            self.flow_publisher(topics, 1, publisher, publishers)?;
        }
        self.flow()
    }

    pub(super) fn shared(&mut self) -> Result<Vec<Phase>, ScenarioError> {
        let publishers = self.parameters.publishers;
        let filter = format!("$share/group/{}", self.topic("+"));
        for _ in 0..self.parameters.clients {
            let expected = Expected::new(0..publishers, true);
            self.subscriber(std::slice::from_ref(&filter), expected)?;
        }
        for publisher in 0..publishers {
            self.flow_publisher(vec![self.topic(publisher)], 1, publisher, publishers)?;
        }
        self.flow()
    }

    /// Adds one of several publishers, with its share of the messages.
    fn flow_publisher(
        &mut self,
        names: Vec<String>,
        receivers: u32,
        number: u32,
        count: u32,
    ) -> Result<(), ScenarioError> {
        let parameters = self.parameters;
        let messages = match parameters.seconds {
            Some(_) => u64::from(u32::MAX),
            None => {
                let messages = parameters.messages + parameters.messages / WARM_UP;
                messages.div_ceil(u64::from(count))
            }
        };
        let pace = match parameters.rate {
            // Publishers take turns, at the same distance.
            Some(rate) => Pace::Schedule {
                due: u64::from(number) * SECONDS_TO_NANOS / rate,
                interval: (u64::from(count) * SECONDS_TO_NANOS / rate).max(1),
            },
            None => Pace::Bursts {
                in_flight_max: parameters.in_flight,
                burst: parameters.burst,
            },
        };
        let topics = Topics {
            names,
            receivers,
            retain: false,
        };
        self.publisher(&topics, messages, parameters.qos(), pace)?;
        Ok(())
    }

    /// Connects everybody, subscribers first, and has the messages flow.
    fn flow(&mut self) -> Result<Vec<Phase>, ScenarioError> {
        let engine = &mut self.engine;
        let (publishers, subscribers): (Vec<_>, Vec<_>) =
            (0..engine.clients.len()).partition(|id| engine.clients[*id].sender.is_some());
        engine.sampler.begin("connecting");
        engine.connect_all(subscribers)?;
        engine.connect_all(publishers)?;
        let receivers = engine.ledger.receivers(0);
        let warm_up = self.parameters.messages / WARM_UP * u64::from(receivers);
        let end = self
            .parameters
            .seconds
            .map(|seconds| seconds * SECONDS_TO_NANOS);
        let begin = engine.clock.nanos();
        let warm_until = end.map(|end| begin + end / WARM_UP);
        let end = end.map(|end| begin + end / WARM_UP + end);
        engine.sampler.begin("publishing");
        engine.start_senders();
        let warm = engine.run_until("publishing", |engine| match warm_until {
            Some(until) => engine.clock.nanos() >= until,
            None => engine.ledger.delivered >= warm_up,
        })?;
        let is_scheduled = self.parameters.rate.is_some();
        engine.ledger.is_recording = is_scheduled;
        let mark = Mark::now(engine);
        let waited = match warm {
            Waited::Done => engine.run_until("publishing", |engine| {
                if end.is_some_and(|end| engine.clock.nanos() >= end) {
                    engine.stop_senders();
                }
                engine.is_delivered()
            })?,
            Waited::Stalled => Waited::Stalled,
        };
        let mut phase = mark.deliveries("flow", engine);
        if is_scheduled {
            phase.latency = Some(Latency::new(&engine.take_latencies()));
        }
        engine.ledger.checks.lost += engine.outstanding();
        engine.ledger.checks.unacknowledged += engine.unacknowledged();
        if waited == Waited::Stalled && engine.ledger.checks.is_good() {
            // All that was sent is accounted for, but not all was sent.
            return Err(engine.stalled("publishing").into());
        }
        engine.sampler.begin("disconnecting");
        engine.leave_all(0..engine.clients.len())?;
        Ok(vec![phase])
    }
}
