//! Any bytes from a trusted proxy: what it says of the client, and what follows; cuts are invisible.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqttstack_fuzz::streams::{Outcome, pair_with_cuts, read_to_end};
use mqttstack_transport::{ProxyFacts, ProxyOptions, ProxyServer, Stream as _};

fuzz_target!(|input: (Vec<u16>, Vec<u8>)| {
    let (cuts, bytes) = input;
    let whole = outcome(&bytes, &[]);
    assert!(whole.0.content.len() <= bytes.len());
    assert_eq!(outcome(&bytes, &cuts), whole);
});

fn outcome(bytes: &[u8], cuts: &[u16]) -> (Outcome, Option<ProxyFacts>, Option<std::net::IpAddr>) {
    let (mut peer, stream) = pair_with_cuts(cuts);
    let mut options = ProxyOptions::default();
    options.trusts_local_sockets = true;
    options.header_bytes_max = 1_024;
    let mut layer = ProxyServer::new(options).accept(stream);
    let outcome = read_to_end(&mut peer, bytes, &mut layer);
    let facts = layer.peer().proxy.as_deref().cloned();
    // The address of each pair has a number of its own.
    let facts = facts.map(|mut facts| {
        facts.proxy = mqttstack_transport::PeerAddress::Memory(0);
        facts
    });
    (outcome, facts, layer.peer().address.ip())
}
