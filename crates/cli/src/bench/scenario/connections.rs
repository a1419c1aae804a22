//! Connections rather than messages: many that do nothing, and many that come and go.

use super::{Run, ScenarioError, kept::settle};
use crate::bench::{
    ledger::Expected,
    measure::{Mark, Phase},
};

impl Run<'_> {
    /// Opens connections, holds them, and closes them.
    pub(super) fn idle(&mut self) -> Result<Vec<Phase>, ScenarioError> {
        let count = self.parameters.clients;
        for number in 0..count {
            if self.parameters.subscribe {
                let filter = self.topic(format_args!("idle/{number}"));
                self.subscriber(&[filter], Expected::new(0..0, false))?;
            } else {
                self.client(&self.introduction("i"), &[])?;
            }
        }
        let engine = &mut self.engine;
        settle(engine)?;
        engine.sampler.begin("connecting");
        let mark = Mark::now(engine);
        engine.connect_all(0..count as usize)?;
        settle(engine)?;
        let connected = mark.phase("connected", "connection", u64::from(count), engine);
        let mut phases = vec![connected.with_bytes_each()];
        if let Some(seconds) = self.parameters.seconds {
            engine.sampler.begin("holding");
            let mark = Mark::now(engine);
            let until = engine.clock.elapsed() + std::time::Duration::from_secs(seconds);
            while engine.clock.elapsed() < until {
                engine.turn()?;
            }
            phases.push(mark.phase("held", "connection", u64::from(count), engine));
        }
        engine.sampler.begin("disconnecting");
        let mark = Mark::now(engine);
        engine.leave_all(0..count as usize)?;
        settle(engine)?;
        phases.push(mark.phase("disconnected", "connection", u64::from(count), engine));
        Ok(phases)
    }

    /// Has each client connect, subscribe and disconnect, again and again.
    pub(super) fn connect_storm(&mut self) -> Result<Vec<Phase>, ScenarioError> {
        let clients = self.parameters.clients;
        for number in 0..clients {
            let filter = self.topic(format_args!("storm/{number}"));
            self.subscriber(&[filter], Expected::new(0..0, false))?;
        }
        let engine = &mut self.engine;
        engine.connect_all(0..clients as usize)?;
        engine.leave_all(0..clients as usize)?;
        settle(engine)?;
        engine.sampler.begin("connecting and disconnecting");
        let total = self.parameters.messages.max(u64::from(clients));
        let (mut begun, mut ended) = (0, 0);
        let mark = Mark::now(engine);
        for id in 0..clients as usize {
            engine.connect(id);
            begun += 1;
        }
        engine.require("connecting and disconnecting", |engine| {
            for id in std::mem::take(&mut engine.ready) {
                engine.leave(id);
            }
            for id in std::mem::take(&mut engine.gone) {
                ended += 1;
                if begun < total {
                    begun += 1;
                    engine.connect(id);
                }
            }
            ended >= total
        })?;
        Ok(vec![mark.phase("storm", "connection", total, engine)])
    }
}
